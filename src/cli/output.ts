/** What commands print: results on stdout, everything else on stderr, colours only where a person looks. */
import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** Styles a text for a stream that shows colours. */
export function styled(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  const wanted = stream.isTTY && !process.env.NO_COLOR;
  return wanted ? styleText(style, text) : text;
}

/** One line of JSON, the last on stdout. Waits until it is written. */
export function printJson(value: unknown): Promise<void> {
  return print(`${JSON.stringify(value)}\n`);
}

/** Text on stdout, waiting for readers that are slower. */
export function print(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(text, () => resolve()));
}

/** Columns padded to their widest cell; numbers' columns can be aligned to the right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths = rows[0].map((_, c) => Math.max(...rows.map((r) => r[c].length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, c) => (right.includes(c) ? cell.padStart(widths[c]) : cell.padEnd(widths[c])))
      .join("  ")
      .trimEnd();
  return rows.map(line).join("\n");
}

/** "1 min 20 s" */
export function duration(seconds: number): string {
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  return s < 3600
    ? `${Math.floor(s / 60)} min ${s % 60} s`
    : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** A line that is redrawn in place on a terminal, and printed now and then elsewhere. */
export class ProgressLine {
  readonly #stream: NodeJS.WriteStream;
  readonly #interval: number;
  #printed = -Infinity;
  #drawn = false;

  /** `interval`: seconds between lines where the stream is no terminal. */
  constructor(stream: NodeJS.WriteStream = process.stderr, interval = 5) {
    this.#stream = stream;
    this.#interval = interval;
  }

  /** Shows a passing state. `always` prints it on streams that are no terminal too. */
  update(text: string, always = false): void {
    if (this.#stream.isTTY) {
      this.#stream.write(`\r\x1b[2K${text.slice(0, (this.#stream.columns ?? 80) - 1)}`);
      this.#drawn = true;
      return;
    }
    const now = performance.now() / 1000;
    if (!always && now - this.#printed < this.#interval) return;
    this.#printed = now;
    this.#stream.write(`${text}\n`);
  }

  /** Prints a line that stays. */
  line(text: string): void {
    this.clear();
    this.#stream.write(`${text}\n`);
  }

  /** Removes the passing state. */
  clear(): void {
    if (this.#drawn) this.#stream.write("\r\x1b[2K");
    this.#drawn = false;
  }
}
