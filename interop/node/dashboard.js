// Headless Chromium on the gateway's own page, /application/. Run by dashboard_test.go with PAGE (its URL), PASSWORD, SPKI and
// PROFILE as for demo-page.js, and WEBSOCKET: where a session leads to one of two instances that say which one they are.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';
import WebSocket from 'ws';

const { PAGE, PASSWORD, SPKI, PROFILE, SCREENSHOT, WEBSOCKET, CHROMIUM = '/usr/bin/chromium' } = process.env;

const browser = await chromium.launchPersistentContext(PROFILE, {
  executablePath: CHROMIUM,
  headless: true,
  timeout: 120_000,
  httpCredentials: { username: 'admin', password: PASSWORD },
  args: [
    '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    `--ignore-certificate-errors-spki-list=${SPKI}`,
  ],
});
browser.setDefaultTimeout(60_000);
const page = browser.pages()[0] ?? (await browser.newPage());
const errors = [];
page.on('pageerror', (error) => errors.push(error));
page.on('console', (message) => { if (message.type() === 'error') errors.push(message.text()); });
page.on('dialog', (dialog) => dialog.accept());

const closed = Promise.withResolvers ? Promise.withResolvers() : (() => {
  const it = {};
  it.promise = new Promise((resolve) => { it.resolve = resolve; });
  return it;
})();
const ws = new WebSocket(WEBSOCKET, { rejectUnauthorized: false });
ws.on('close', (code, reason) => closed.resolve({ code, reason: String(reason) }));
await new Promise((resolve, reject) => { ws.on('open', resolve); ws.on('error', reject); });

try {
  const response = await page.goto(PAGE);
  assert.equal(response.status(), 200);
  await page.locator('#state[data-state=up]').waitFor();
  const row = page.locator('#sessions tbody tr');
  await row.first().waitFor();
  assert.equal(await row.count(), 1);
  const first = await row.locator('td').nth(3).textContent();
  console.log(`- one session, at ${first}`);

  await row.getByRole('button', { name: /^Move/ }).click();
  await row.locator('td').nth(8).getByText('1', { exact: true }).waitFor();
  const second = await row.locator('td').nth(3).textContent();
  assert.notEqual(second, first);
  console.log(`- moved to ${second}`);

  await page.getByRole('button', { name: `Drain ${first}`, exact: true }).click();
  await page.getByRole('button', { name: `Undrain ${first}` }).waitFor();
  await page.getByRole('button', { name: `Undrain ${first}` }).click();
  await page.getByRole('button', { name: `Drain ${first}`, exact: true }).waitFor();
  console.log(`- ${first} was drained, and is no more`);

  await page.locator('#filter').fill('nothing like it');
  await page.locator('#more').getByText('0 shown of 1.').waitFor();
  await page.locator('#filter').fill('');
  await row.getByRole('button', { name: /^Close/ }).click();
  const end = await closed.promise;
  assert.equal(end.reason, 'closed by an operator');
  await page.locator('#sessions tbody:empty, #sessions tbody:not(:has(tr))').waitFor({ state: 'attached' });
  console.log(`- closed: ${end.code} ${end.reason}`);
  assert.deepEqual(errors, []);
} catch (error) {
  console.log(await page.locator('body').innerText().catch(() => 'no page'));
  throw error;
} finally {
  ws.terminate();
  if (SCREENSHOT) await page.screenshot({ path: SCREENSHOT, fullPage: true });
  await browser.close();
}
