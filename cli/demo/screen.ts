import { bar, paint, type Paint } from './text.ts';

/** What is being done just now. */
export interface Step {
  /** `fraction` from 0 to 1; undefined where it is not known. `note` stands behind the bar. */
  progress(fraction: number | undefined, note?: string): void;
  /** Ends the step with a line that stays. */
  done(note?: string): void;
}

/** Where progress is shown: a terminal gets one line that moves, anything else a plain line for each step that has ended. */
export interface Screen {
  readonly paint: Paint;
  step(title: string): Step;
  line(text: string): void;
  /** Takes an unfinished step off the screen. */
  clear(): void;
}

const REDRAW_MS = 80;
const TITLE_COLUMNS = 29;
const BAR_COLUMNS = 24;

export function openScreen(
  out: { write(text: string): unknown; readonly isTTY?: boolean; readonly columns?: number },
  env: Readonly<Record<string, string | undefined>>,
): Screen {
  const isTerminal = out.isTTY === true && env['TERM'] !== 'dumb';
  const colours = paint(isTerminal && !env['NO_COLOR']);
  let drawnAt = 0;
  let isDrawn = false;

  const erase = (): void => {
    if (isDrawn) out.write('\r\u001b[2K');
    isDrawn = false;
  };
  const line = (text: string): void => {
    erase();
    out.write(`${text}\n`);
  };
  return {
    paint: colours,
    line,
    clear: erase,
    step(title) {
      const startedMs = performance.now();
      const draw = (fraction: number | undefined, note: string, force: boolean): void => {
        if (!isTerminal || (!force && performance.now() - drawnAt < REDRAW_MS)) return;
        drawnAt = performance.now();
        const share = fraction === undefined ? '' : `${bar(fraction, BAR_COLUMNS)} ${percent(fraction)}  `;
        // One column short of the edge, so that no terminal wraps the line.
        const text = `  ${title.padEnd(TITLE_COLUMNS)} ${share}${note}`.slice(0, (out.columns ?? 100) - 1);
        erase();
        out.write(colours.cyan(text));
        isDrawn = true;
      };
      draw(undefined, '', true);
      return {
        progress: (fraction, note = '') => draw(fraction, note, false),
        done(note = '') {
          const seconds = `${((performance.now() - startedMs) / 1000).toFixed(1)} s`;
          line(`${colours.green('✓')} ${title.padEnd(TITLE_COLUMNS)} ${colours.dim(seconds.padStart(7))}  ${note}`);
        },
      };
    },
  };
}

function percent(fraction: number): string {
  return `${Math.round(Math.min(1, Math.max(0, fraction)) * 100)} %`.padStart(5);
}
