"""Runs a command on a terminal, and tells what stood on its screen.

    terminal.py [--size COLUMNSxROWS] [--do 'PATTERN -> ACTION']... [--frames FILE] -- COMMAND...

ACTION is `resize=COLUMNSxROWS` or `type=TEXT` (with Python's escapes: \\x03 is Ctrl-C), and is done as soon as PATTERN, a regular
expression, is on the screen; one after the other.
Prints the screen as it was at the end, and a last line with the state of the cursor and the screen; writes each screen that
was seen, one after the other, to FILE. Ends as the command does. It knows the few escape sequences that our programs write,
and complains about any other.
"""

import argparse
import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

LIMIT_S = 40
SEQUENCE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])")


class Screen:
    def __init__(self, columns, rows):
        self.is_cursor_shown, self.is_alternate = True, False
        self.strange = []
        self.columns, self.rows = columns, rows
        self.clear()

    def clear(self):
        self.lines, self.row, self.column = [""] * self.rows, 0, 0

    def resize(self, columns, rows):
        # As terminals do: rows go from the top, lines that are too long are cut.
        lines = self.lines[-rows:] if self.row >= rows else self.lines[:rows]
        self.row = min(self.row, rows - 1)
        self.columns, self.rows = columns, rows
        self.lines = [line[:columns] for line in lines] + [""] * (rows - len(lines))
        self.column = min(self.column, columns - 1)

    def text(self):
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")

    def feed(self, text):
        """Takes text in, and returns what is only the beginning of a sequence."""
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = SEQUENCE.match(text, at)
                if not found:
                    if len(text) - at < 16:
                        return text[at:]
                    self.strange.append(text[at : at + 8])
                    at += 1
                    continue
                self.control(found[1], found[2], found[3])
                at = found.end()
                continue
            self.put(text[at])
            at += 1
        return ""

    def put(self, char):
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self.newline()
        elif char >= " ":
            if self.column >= self.columns:
                self.column = 0
                self.newline()
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + char + line[self.column + 1 :]
            self.column += 1

    def newline(self):
        self.row += 1
        if self.row == self.rows:
            self.lines = self.lines[1:] + [""]
            self.row -= 1

    def control(self, private, numbers, letter):
        number = int(numbers.split(";")[0] or 1) if numbers else 1
        if private and letter in "hl" and numbers == "25":
            self.is_cursor_shown = letter == "h"
        elif private and letter in "hl" and numbers == "1049":
            self.switch(letter == "h")
        elif letter == "A":
            self.row = max(0, self.row - number)
        elif letter == "B":
            self.row = min(self.rows - 1, self.row + number)
        elif letter == "H":
            self.row, self.column = 0, 0
        elif letter == "K":
            keep = 0 if numbers == "2" else self.column
            self.lines[self.row] = self.lines[self.row][:keep]
        elif letter == "J":
            self.lines[self.row] = self.lines[self.row][: self.column]
            self.lines[self.row + 1 :] = [""] * (self.rows - self.row - 1)
        elif letter != "m":
            self.strange.append(f"{private}{numbers}{letter}")

    def switch(self, to_alternate):
        if to_alternate != self.is_alternate:
            self.is_alternate = to_alternate
            if to_alternate:
                self.main = (self.lines, self.row, self.column)
                self.clear()
            else:
                (lines, self.row, self.column) = self.main
                self.lines = (lines + [""] * self.rows)[: self.rows]
                self.row = min(self.row, self.rows - 1)


def size_of(text):
    columns, rows = text.split("x")
    return int(columns), int(rows)


def action(text):
    pattern, what = text.split(" -> ")
    return re.compile(pattern, re.MULTILINE), *what.split("=", 1)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=size_of, default=(100, 30))
    parser.add_argument("--do", type=action, action="append", default=[])
    parser.add_argument("--frames")
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def set_size(terminal, columns, rows):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def main():
    options = arguments()
    pid, terminal = pty.fork()
    if pid == 0:
        set_size(0, *options.size)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execvp(options.command[0], options.command)
    screen, frames, rest = Screen(*options.size), [], ""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    todo, started = options.do, time.monotonic()
    while time.monotonic() - started < LIMIT_S:
        if todo and todo[0][0].search(screen.text()):
            _, what, value = todo.pop(0)
            if what == "resize":
                set_size(terminal, *size_of(value))
                screen.resize(*size_of(value))
            else:
                os.write(terminal, codecs.decode(value, "unicode_escape").encode("latin-1"))
        if not select.select([terminal], [], [], 0.02)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # nobody has the terminal open any more
            break
        if not data:
            break
        rest = screen.feed(rest + decode(data))
        if not frames or frames[-1] != screen.text():
            frames.append(screen.text())
    else:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if options.frames:
        with open(options.frames, "w", encoding="utf-8") as file:
            file.write("\n\f\n".join(frames) + "\n")
    print(screen.text())
    cursor = "shown" if screen.is_cursor_shown else "hidden"
    print(f"cursor {cursor}, screen {'alternate' if screen.is_alternate else 'main'}")
    if screen.strange or rest:
        print(f"strange sequences: {screen.strange} {rest!r}")
    sys.exit(os.waitstatus_to_exitcode(status) % 256)


main()
