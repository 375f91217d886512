//! `ringseal-bench`: see `bench/README.md`.
use std::path::Path;
fn main() -> ringseal_bench::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let a: Vec<&str> = args.iter().map(String::as_str).collect();
    match &a[1..] {
        ["role", "hop-receiver", f, i, l, c, rest @ ..] => ringseal_bench::hop::Kind::receive(Path::new(f), i.parse()?, l.parse()?, c.parse()?, rest.first().map(|d| d.parse()).transpose()?),
        ["role", "two-hops", f, k, r, c] => ringseal_bench::hop::two_hops_role(Path::new(f), k, r, c.parse()?),
        _ => {
            let plan = ringseal_bench::Plan { rounds: 7, is_short: a.get(1) == Some(&"short") };
            let cores = ringseal_bench::clock::cores()?;
            let g = if a.get(2) == Some(&"scale") { ringseal_bench::scale::run(&plan, &ringseal_bench::pipeline::Programs::at(Path::new(a[3]))?, &cores, 100_000)? } else if a.get(2) == Some(&"hop") { ringseal_bench::hop::run(&plan, &cores)? } else { ringseal_bench::sign::run(&plan, a.get(3).map(Path::new))? };
            let r = ringseal_bench::report::Report { format: 1, machine: ringseal_bench::machine::Machine::here(Path::new("."), &cores, ""), is_short: plan.is_short, groups: vec![g] };
            println!("{}", r.to_markdown());
            Ok(())
        }
    }
}
