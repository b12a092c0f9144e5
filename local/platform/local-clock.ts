import type { ControllableClock } from '../clock/clock.ts';
import { ClockRequestError, parseClockRequest } from '../clock/control.ts';
import { PlatformError } from './errors.ts';
import type { Handler } from './front.ts';

/**
 * `GET /local/clock` and `POST /local/clock`. Moves are made one after another, each from where the one before it ended, and are
 * answered when every timer that fell due on the way has run.
 */
export function clockHandler(clock: ControllableClock, advance: (targetMs: number) => Promise<number>): Handler {
  let last: Promise<unknown> = Promise.resolve();
  const isoNow = () => new Date(clock.now()).toISOString();
  const move = async (body: string): Promise<Response> => {
    try {
      const fired = await advance(parseClockRequest(body, clock.now()));
      return Response.json({ now: isoNow(), fired });
    } catch (error) {
      if (error instanceof ClockRequestError) return refuse(400, 'InvalidRequest', error.message);
      if (error instanceof PlatformError)
        return refuse(503, 'ServiceUnavailable', `the clock stands at ${isoNow()}: ${error.message}`);
      throw error;
    }
  };
  return async (request) => {
    if (new URL(request.url).pathname !== '/local/clock') return undefined;
    if (request.method === 'GET') return Response.json({ now: isoNow() });
    if (request.method !== 'POST') return refuse(405, 'MethodNotAllowed', 'GET shows the clock, POST moves it');
    const body = await request.text();
    const turn = last.then(() => move(body));
    last = turn.catch(() => undefined);
    return turn;
  };
}

function refuse(status: number, code: string, message: string): Response {
  return Response.json({ error: { code, message } }, { status });
}
