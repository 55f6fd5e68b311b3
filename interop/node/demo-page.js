// Headless Chromium on the page of `fairlead demo`. Run by demo_test.go with PAGE (its URL),
// SPKI (the hash of the one key that Chromium accepts without an authority) and PROFILE (an
// empty directory) in the environment. CHROMIUM names another browser than Debian's.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const { PAGE, SPKI, PROFILE, SCREENSHOT, CHROMIUM = '/usr/bin/chromium' } = process.env;

const browser = await chromium.launchPersistentContext(PROFILE, {
  executablePath: CHROMIUM,
  headless: true,
  timeout: 120_000,
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

function step(text) {
  console.log(`- ${text}`);
}

// say types text and gives the name of the instance that answered it.
async function say(text) {
  await page.locator('#state[data-state=open]').waitFor();
  await page.locator('#text').fill(text);
  await page.locator('#send').click();
  const answer = page.locator('#answers li', { hasText: text.toUpperCase() });
  const name = await answer.locator('.badge').textContent();
  step(`"${text}" was answered by ${name}`);
  return name;
}

// stop stops the instance that answers. The session goes on at the other one: the page sees no end of it.
async function stop(name) {
  const closes = page.locator('#events li', { hasText: 'upper case: closed' });
  const before = await closes.count();
  await press('Stop', name, 'stopped');
  const next = await say(`without ${name}`);
  assert.notEqual(next, name, 'the stopped instance answered');
  assert.equal(await closes.count(), before, 'the session was closed');
}

async function press(verb, name, state) {
  await page.getByRole('button', { name: `${verb} instance ${name}` }).click();
  const row = page.locator('#instances li').filter({ has: page.locator(`[data-instance="${name}"]`) });
  await row.locator(`.state[data-state=${state}]`).waitFor();
  step(`${verb} ${name}: ${state}`);
}

try {
  const response = await page.goto(PAGE);
  assert.equal(response.status(), 200);
  step(`${await page.title()}, ${(await response.securityDetails()).protocol}`);

  const first = await say('hello browser');
  await stop(first);
  const second = await say('is anyone there?');
  assert.notEqual(second, first, 'the stopped instance answered');

  await press('Start', first, 'running');
  await stop(second);
  assert.equal(await say('and now?'), first);
  await press('Start', second, 'running');

  await page.locator('#line').fill('to everyone');
  await page.locator('#say').click();
  await page.locator('#messages li', { hasText: 'to everyone' }).waitFor();
  step('the chat shows the message');

  assert.equal(await say('bye'), first);
  await page.locator('#state[data-state=closed]', { hasText: '1000' }).waitFor();
  await page.locator('#connect').click();
  await say('back again');

  assert.deepEqual(errors, []);
} catch (error) {
  console.log(await page.locator('body').innerText().catch(() => 'no page'));
  throw error;
} finally {
  if (SCREENSHOT) await page.screenshot({ path: SCREENSHOT, fullPage: true });
  await browser.close();
}
