/** A line that is redrawn in place on a terminal, and printed now and then elsewhere: logs stay short, people see motion. */
import { stripVTControlCharacters } from "node:util";

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

  /** Shows a passing state, cut at the terminal's edge. `always` prints it on streams that are no terminal too. */
  update(text: string, always = false): void {
    if (this.#stream.isTTY) {
      const fits = stripVTControlCharacters(text).slice(0, (this.#stream.columns ?? 80) - 1);
      this.#stream.write(`\r\x1b[2K${fits}`);
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
