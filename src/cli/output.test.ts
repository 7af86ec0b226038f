import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { duration, table } from "./output.ts";
import { ProgressLine } from "./progress.ts";

describe("table", () => {
  it("pads columns to their widest cell and aligns numbers to the right", () => {
    const rows = [
      ["name", "n"],
      ["a", "10"],
      ["long name", "7"],
    ];
    expect(table(rows, [1])).toBe("name        n\na          10\nlong name   7");
  });
  it("does not count colours", () => {
    const bold = "\x1b[1mab\x1b[22m";
    const rows = [
      [bold, "x"],
      ["abc", "y"],
    ];
    expect(table(rows)).toBe(`${bold}   x\nabc  y`);
  });
  it("continues a last column that is too wide under itself, and loses no word", () => {
    const words = "one two three four five six seven eight nine ten";
    const lines = table([["key", words]], [], 30).split("\n");
    expect(lines.every((line) => line.length <= 30)).toBe(true);
    expect(lines.slice(1).every((line) => line.startsWith("     "))).toBe(true);
    expect(lines.join(" ").replaceAll(/\s+/g, " ")).toBe(`key ${words}`);
  });
});

describe("duration", () => {
  it.each([
    [0.4, "0 s"],
    [59.6, "1 min 0 s"],
    [80, "1 min 20 s"],
    [3723, "1 h 2 min"],
  ])("%d seconds", (seconds, words) => expect(duration(seconds)).toBe(words));
});

/** A stream that remembers what was written to it. */
function screen(terminal: boolean) {
  const stream = new PassThrough({ encoding: "utf8" });
  const asTty = Object.assign(stream, { isTTY: terminal, columns: 10 }) as unknown as NodeJS.WriteStream;
  return { stream: asTty, text: () => (stream.read() as string | null) ?? "" };
}

describe("ProgressLine", () => {
  it("redraws one line on a terminal, within its width, and leaves nothing behind", () => {
    const { stream, text } = screen(true);
    const progress = new ProgressLine(stream);
    progress.update("step 1");
    progress.update("a line longer than the terminal");
    progress.line("kept");
    progress.update("step 3");
    progress.clear();
    progress.clear();
    const redraw = "\r\x1b[2K";
    const drawn = ["", "step 1", "a line lo", "kept\n", "step 3", ""];
    expect(text()).toBe(drawn.join(redraw));
  });
  it("prints plain lines now and then elsewhere", () => {
    const { stream, text } = screen(false);
    const progress = new ProgressLine(stream, 3600);
    progress.update("first");
    progress.update("too soon");
    progress.update("the last step", true);
    progress.line("kept");
    progress.clear();
    expect(text()).toBe("first\nthe last step\nkept\n");
  });
});
