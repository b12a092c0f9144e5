import { type ArmAnswer, type ArmRequest, type HttpAnswer, toHttp } from '../arm/http.ts';
import { withRequestIds } from '../arm/serve.ts';
import { type Health, healthOf } from '../services/health.ts';
import { inInvocation, type Invocation } from './log.ts';
import { probesOf } from './probes.ts';
import { theApp, theLog } from './services.ts';

let ask: (() => Promise<Health>) | undefined;

/** Answers how the process's app is as `show` puts it. An app whose settings are wrong cannot work either: the log says why. */
export async function answerHealth(
  request: ArmRequest,
  context: Invocation,
  show: (health: Health) => ArmAnswer,
): Promise<HttpAnswer> {
  return inInvocation(context, async () => {
    const ids = { guid: () => context.invocationId, hex: () => '' };
    return toHttp(await withRequestIds({ ids, log: theLog() }, request, async () => show(await health())));
  });
}

async function health(): Promise<Health> {
  try {
    ask ??= healthOf(probesOf(theApp().config), { now: () => performance.now() });
    const found = await ask();
    for (const { name, ok, problem } of found.results) if (!ok) theLog()(`${name} do not answer: ${problem}`, 'error');
    return found;
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    theLog()(problem, 'error');
    return { ok: false, at: 0, results: [{ name: 'settings', ok: false, elapsedMs: 0, problem }] };
  }
}
