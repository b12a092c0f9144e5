import { appendFileSync, readFileSync } from 'node:fs';
import { app } from '@azure/functions';

const now = () => {
  try {
    return Date.now() + JSON.parse(readFileSync(process.env.STRATA_CLOCK_FILE, 'utf8')).offsetMs;
  } catch {
    return Date.now();
  }
};
const tick = (name) => (timer, context) => {
  const entry = { fn: context.functionName, at: now(), isPastDue: timer.isPastDue, status: timer.scheduleStatus };
  appendFileSync(process.env.HOST_APP_RECORD, `${JSON.stringify(entry)}\n`);
  if (name === 'fails') throw new Error('timer failing on purpose');
};

app.timer('ten', { schedule: '0 */10 * * * *', handler: tick('ten') });
app.timer('thirty', { schedule: '0 5/30 * * * *', handler: tick('fails') });
