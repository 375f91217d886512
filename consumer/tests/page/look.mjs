// Opens reports in a real browser and holds the figures of each against the summaries of its runs.
//
//     npm ci
//     node look.mjs BROWSER PAGE RUN-FOLDER... [-- PAGE RUN-FOLDER...]...
//
// Ends with 1 and words for the first thing that is not as it should be.

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const WIDTHS = [390, 1600];
const SCHEMES = ["light", "dark"];
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];

class Fault extends Error {}

function expect(what, holds) {
  if (!holds) {
    throw new Fault(what);
  }
}

// What the page says of a field, and what stands there: the file's number, and the text in its precision.
function checkFigure({ field, value, text }, summaries) {
  const path = field.split(".");
  const summary = summaries.length === 1 ? summaries[0] : summaries[Number(path.shift())];
  const said = path.reduce((part, name) => part?.[name], summary);
  // The reader of the file may be off in a mean's last digit.
  const isSame = value === said || Math.abs(value - said) <= 1e-14 * Math.abs(said);
  expect(`${field}: the page's ${value} is not the file's ${said}`, said !== undefined && isSame);
  if (said === null) {
    expect(`${field}: '${text}' for nothing`, text === "–");
    return;
  }
  const [, digits, unit] = /^([\d,.]+)(?: (ns|µs|ms|s)|\/s)?$/.exec(text) ?? [];
  expect(`${field}: '${text}' is no number`, digits !== undefined);
  const isBare = unit === undefined && field.endsWith("_ns"); // in a column of microseconds
  const scale = { ns: 1, µs: 1e3, ms: 1e6, s: 1e9 }[isBare ? "µs" : unit] ?? 1;
  const decimals = digits.split(".")[1]?.length ?? 0;
  const shown = Number(digits.replaceAll(",", ""));
  expect(`${field}: '${text}' is not ${said}`, Math.abs(shown - said / scale) <= 0.5000001 * 10 ** -decimals);
}

async function look(browser, url, summaries) {
  const grounds = {};
  let figures = [];
  for (const colorScheme of SCHEMES) {
    for (const width of WIDTHS) {
      const page = await browser.newPage({ colorScheme, viewport: { width, height: 900 } });
      const heard = [];
      page.on("console", (message) => heard.push(`console: ${message.text()}`));
      page.on("pageerror", (error) => heard.push(`error: ${error.message}`));
      page.on("requestfailed", (request) => heard.push(`failed: ${request.url()}`));
      page.on("request", (request) => {
        if (request.url() !== url && !request.url().startsWith("data:")) {
          heard.push(`asked for ${request.url()}`);
        }
      });
      await page.goto(url, { waitUntil: "load" });
      const seen = await page.evaluate(() => ({
        overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        ground: getComputedStyle(document.body).backgroundColor,
        ink: getComputedStyle(document.body).color,
        hidden: [...document.querySelectorAll("figure")].filter(
          (figure) => [...figure.querySelectorAll("svg")].filter((svg) => svg.getBoundingClientRect().width > 0).length !== 1,
        ).length,
        outside: [...document.querySelectorAll("svg text")].filter((text) => {
          const [box, svg] = [text.getBoundingClientRect(), text.closest("svg").getBoundingClientRect()];
          return box.width > 0 && (box.left < svg.left - 14 || box.right > svg.right + 14);
        }).map((text) => text.textContent),
        figures: [...document.querySelectorAll("[data-figure]")].map((element) => ({
          field: element.dataset.figure,
          value: JSON.parse(element.dataset.value),
          text: element.firstChild.textContent,
        })),
        pictures: document.querySelectorAll("figure").length,
      }));
      const where = `${colorScheme}, ${width} px`;
      expect(`${where}: ${heard.join("; ")}`, heard.length === 0);
      expect(`${where}: ${seen.overflow} px too wide`, seen.overflow <= 0);
      expect(`${where}: ${seen.hidden} pictures not shown in one form`, seen.hidden === 0);
      expect(`${where}: text runs out of its picture: ${seen.outside.join(", ")}`, seen.outside.length === 0);
      expect(`${where}: text has the colour of its ground`, seen.ground !== seen.ink);
      grounds[colorScheme] = seen.ground;
      figures = seen.figures;
      await page.close();
    }
  }
  expect(`light and dark are both ${grounds.light}`, grounds.light !== grounds.dark);
  figures.forEach((figure) => checkFigure(figure, summaries));
  for (const [i] of summaries.entries()) {
    for (const name of ["p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "max_ns"]) {
      const field = `${summaries.length === 1 ? "" : `${i}.`}stages.end_to_end.${name}`;
      expect(`${field} is not on the page`, figures.some((figure) => figure.field === field));
    }
  }
  return figures.length;
}

async function main([path, ...groups]) {
  const browser = await chromium.launch({ executablePath: path, args: FLAGS });
  try {
    for (const group of groups.join("\0").split("\0--\0")) {
      const [page, ...folders] = group.split("\0");
      const summaries = folders.map((folder) => JSON.parse(readFileSync(join(folder, "summary.json"), "utf8")));
      try {
        const figures = await look(browser, pathToFileURL(resolve(page)).href, summaries);
        console.log(`${page}: ${figures} figures are those of the summaries`);
      } catch (problem) {
        problem.message = `${page}: ${problem.message}`;
        throw problem;
      }
    }
  } finally {
    await browser.close();
  }
}

if (process.argv.length < 5) {
  console.error("usage: look.mjs BROWSER PAGE RUN-FOLDER... [-- PAGE RUN-FOLDER...]...");
  process.exit(1);
}
main(process.argv.slice(2)).catch((problem) => {
  console.error(`look.mjs: ${problem.constructor.name}: ${problem.message}`);
  process.exit(1);
});
