// The page in Chromium: node page.mjs BASE FOLDER. It wants playwright-core beside it or in NODE_PATH, and streams at BASE that go on.
import { createRequire } from 'node:module';
import { mkdtempSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import assert from 'node:assert/strict';

const { chromium } = createRequire(join(process.env.PLAYWRIGHT ?? process.cwd(), 'x.js'))('playwright-core');
const [base, folder, wanted = '200'] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), 'page-')), {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, viewport: { width: 1360, height: 800 },
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
const page = await context.newPage();
const elsewhere = [], complaints = [];
context.on('request', request => { if (new URL(request.url()).origin !== new URL(base).origin && !request.url().startsWith('data:')) elsewhere.push(request.url()); });
page.on('console', message => { if (message.type() === 'error') complaints.push(message.text()); });
page.on('pageerror', error => complaints.push(String(error)));
page.on('dialog', dialog => { complaints.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
const picture = name => page.screenshot({ path: join(folder, `${name}.png`) });
const text = id => page.textContent(`#${id}`);

await page.goto(`${base}/`);
await page.waitForFunction(wanted => document.querySelectorAll('#rows tr').length >= wanted, Number(wanted));
await page.waitForTimeout(1200);
await picture('list');
console.log('many_streams_at_once_are_listed ok');

await page.locator('#rows tr', { has: page.locator('.streaming') }).first().focus();
await page.keyboard.press('Enter');
await page.waitForFunction(() => document.querySelector('#text').textContent.includes('<script>'), null, { timeout: 20000 });
const first = JSON.parse((await text('raw')).split('\n')[0]);
assert.equal(first.sequence_number ?? 0, 0, 'the first event');
console.log('one_that_joins_late_sees_all_from_the_first_event ok');
assert.equal(await page.locator('#text *').count(), 0, 'elements in the text');
assert.equal(await page.title(), 'Relay');
console.log('html_in_a_models_text_is_text ok');
await page.waitForTimeout(800);
await picture('live');
await page.emulateMedia({ colorScheme: 'dark' });
await picture('dark');
await page.setViewportSize({ width: 390, height: 844 });
await picture('phone-live');
await page.click('#back');
await picture('phone-list');
assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the page is wider than the phone');
await page.emulateMedia({ colorScheme: 'light' });
await page.setViewportSize({ width: 1360, height: 800 });

await page.locator('#rows tr', { has: page.locator('.streaming') }).first().click();
await page.click('#stop');
await page.waitForFunction(() => document.querySelector('#state').textContent === 'cancelled', null, { timeout: 5000 });
await page.waitForFunction(() => document.querySelector('#stop').hidden);
await picture('stopped');
console.log('a_stream_is_stopped_from_the_page ok');
await page.keyboard.press('Escape');
assert.ok(await page.isHidden('#watch'));
console.log('the_page_works_by_keyboard ok');
assert.deepEqual(elsewhere, []);
console.log('no_request_leaves_the_origin ok');
assert.deepEqual(complaints, []);
console.log('the_policy_refuses_nothing_of_the_pages_own ok');
await context.close();
