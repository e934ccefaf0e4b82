// The page in Chromium: see run.sh, which starts the relays, one that is open and one that wants a token.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import assert from 'node:assert/strict';
import { contrasts } from './contrast.mjs';

const { MODULES, PROFILE, PICTURES, CHROMIUM } = process.env;
const { chromium } = createRequire(join(MODULES, 'x.js'))('playwright-core');
const [open, guarded, token] = process.argv.slice(2);
const html = '<img src=x onerror="globalThis.ran=1"><script>globalThis.ran=1</script>';
const WIDE = { width: 1360, height: 820 }, PHONE = { width: 390, height: 844 };

const context = await chromium.launchPersistentContext(PROFILE, {
  executablePath: CHROMIUM, headless: true, viewport: WIDE,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
const page = context.pages()[0] ?? await context.newPage();
page.setDefaultTimeout(30000);
const requests = [], complaints = [];
context.on('request', request => requests.push(request));
page.on('console', message => { if (message.type() === 'error') complaints.push(message.text()); });
page.on('pageerror', error => complaints.push(String(error)));
page.on('dialog', dialog => { complaints.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
const ok = name => console.log(`${name} ok`);
const picture = async name => { if (PICTURES) await page.screenshot({ path: join(PICTURES, `${name}.png`) }); };
const text = id => page.textContent(`#${id}`);
const says = (id, what) => page.waitForFunction(([id, what]) => document.getElementById(id).textContent.includes(what), [id, what]);
const row = text => page.locator('#table tbody tr:has(td)', { hasText: text }).first();
const isShown = id => page.isVisible(`#${id}`);
// Nothing is wider than the window, each head of a column can be read, and the columns fill the table.
async function fits() {
  const wrong = await page.evaluate(() => {
    const heads = [...document.querySelectorAll('thead th')].filter(head => head.checkVisibility());
    const cut = heads.filter(head => head.scrollWidth > head.clientWidth).map(head => head.textContent);
    const gap = heads.length ? document.getElementById('table').getBoundingClientRect().right - heads.at(-1).getBoundingClientRect().right : 0;
    const wide = [...document.querySelectorAll('html, #list, #watch, #panes')].filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.id || box.tagName);
    return [...cut, ...wide, ...Math.abs(gap) > 2 ? [`a gap of ${gap}`] : []];
  });
  assert.deepEqual(wrong, []);
}
async function isReadable(where) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    const { count, worst, bad } = await page.evaluate(contrasts);
    assert.deepEqual(bad, [], `${where}, ${colorScheme}`);
    console.log(`  ${where}, ${colorScheme}: ${count} texts and edges, the least contrast ${worst.toFixed(2)}`);
  }
  await page.emulateMedia({ colorScheme: 'light' });
}
// Streams, as clients of the relay have them.
const clients = [];
async function send(model, { at = open, headers = {}, read = false, api = 'responses' } = {}) {
  const client = new AbortController();
  clients.push(client);
  const answer = await fetch(`${at}/v1/${api}`, { method: 'POST', signal: client.signal,
    headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ model, stream: true, ...api === 'responses' ? { input: 'hello' } : { messages: [{ role: 'user', content: 'hello' }] } }) });
  assert.equal(answer.status, 200);
  const all = answer.text().catch(() => null);
  return read ? all : client;
}

// Nothing yet: it says what to do next, and that works.
await page.goto(`${open}/`);
await page.waitForSelector('#empty');
await picture('empty');
await isReadable('empty');
const curl = await text('curl');
assert.ok(curl.includes(`${open}/v1/responses`) && curl.startsWith('curl '), curl);
ok('an_empty_page_says_what_to_do_next');

// A stream of each kind.
await send('flaky', { read: true });
await send('broken', { read: true });
await send(`html ${html}`);
await send('slow and watched');
await page.waitForFunction(() => document.querySelectorAll('#running tr:has(td)').length === 2 && document.querySelectorAll('#ended tr:has(td)').length === 2);
assert.equal(await row('flaky').locator('td').nth(2).innerText(), 'completed');
await picture('streams');
await fits();
assert.equal(await row('flaky').locator('td').nth(3).innerText(), '2');
assert.match(await row('flaky').locator('td').nth(8).innerText(), /812 → 1204/);
ok('a_retry_is_seen_as_attempt_2');
assert.match(await row('broken').locator('td').nth(2).innerText(), /failed\s+html_not_allowed/);
await row('broken').click();
await says('failure', 'html_not_allowed: <img');
assert.match(await text('text'), /Bergen/);
await picture('failed');
ok('a_stream_that_failed_says_its_code');

// HTML is text, wherever it stands.
await row('html').click();
await says('text', 'javascript:');
await says('title', html);
for (const [id, what] of [['reasoning', html], ['calls', html], ['raw', 'onerror']]) assert.ok((await text(id)).includes(what), id);
assert.ok((await text('facts')).includes(html.slice(0, 20)), 'the id');
assert.equal(await page.locator('main :is(img, svg, script)').count(), 0);
assert.equal(await page.evaluate(() => globalThis.ran), undefined);
ok('html_of_a_model_is_text');

// By keyboard alone: a late join sees all from the first event on.
await page.keyboard.press('Escape');
await page.waitForSelector('#watch', { state: 'hidden' });
await page.locator('#filter').focus();
await page.keyboard.press('Tab');
await page.keyboard.press('Tab');
assert.equal(await page.evaluate(() => document.activeElement.closest('tr')?.parentElement.id ?? document.activeElement.id), 'running');
await page.keyboard.press('Home');
assert.match(await page.evaluate(() => document.activeElement.textContent), /slow and watched/);
for (const [key, model] of [['ArrowDown', 'html'], ['End', 'flaky'], ['ArrowUp', 'broken'], ['Home', 'slow']]) {
  await page.keyboard.press(key);
  assert.match(await page.evaluate(() => document.activeElement.textContent), new RegExp(model));
}
await page.keyboard.press('Enter');
await says('text', 'Bergen');
const [first] = await page.locator('#raw code').allTextContents();
assert.equal(JSON.parse(first).type, 'response.created');
assert.match(await text('reasoning'), /^The question is/);
assert.match(await text('calls'), /^lookup_weather\{"city": "Bergen", "day": "Sunday", "units": "metric"\}$/);
// It grows, and nothing but it moves.
await page.evaluate(() => {
  globalThis.moved = [];
  new PerformanceObserver(shifts => moved.push(...shifts.getEntries().flatMap(shift => shift.sources.map(source => source.node?.id || source.node?.nodeName)))).observe({ type: 'layout-shift' });
});
const before = (await text('text')).length, age = await page.locator('[data-of=age]').last().innerText();
await page.waitForFunction(before => document.getElementById('text').textContent.length > before + 60, before);
await page.waitForFunction(age => [...document.querySelectorAll('[data-of=age]')].at(-1).textContent !== age, age);
assert.deepEqual(await page.evaluate(() => moved.filter(what => what !== 'CODE')), [], 'what moved');
await page.waitForFunction(() => document.querySelectorAll('#facts dd')[6].textContent === '2');
await picture('live');
await fits();
ok('one_that_joins_late_sees_all_from_the_first_event');
await isReadable('a live stream');
await page.emulateMedia({ colorScheme: 'dark' });
await picture('dark');
await page.emulateMedia({ colorScheme: 'light' });
await page.setViewportSize({ width: 1024, height: 700 });
await fits();
await page.setViewportSize(PHONE);
await fits();
await picture('phone-live');
await page.click('#back');
await page.waitForSelector('#list', { state: 'visible' });
await fits();
await picture('phone');
await page.setViewportSize(WIDE);
ok('a_phone_shows_it_without_scrolling_sideways');
await row('slow and watched').locator('a').focus();
await page.keyboard.press('Enter');
await page.locator('#stop').focus();
await page.keyboard.press('Enter');
await says('state', 'cancelled');
await page.waitForSelector('#stop', { state: 'hidden' });
await picture('stopped');
await page.keyboard.press('Escape');
await page.waitForSelector('#watch', { state: 'hidden' });
assert.match(await page.evaluate(() => document.activeElement.textContent), /slow and watched/);
assert.match(await row('slow and watched').innerText(), /cancelled/);
ok('the_page_works_by_keyboard_alone');

// The other API.
await send('slow in chat', { api: 'chat/completions' });
await row('slow in chat').click();
await says('text', 'Bergen');
assert.match(await text('reasoning'), /^The question is/);
assert.match(await text('calls'), /^lookup_weather\{"city": "Bergen", "day": "Sunday", "units": "metric"\}$/);
assert.ok(JSON.parse((await page.locator('#raw code').allTextContents())[0]).choices);
await page.click('#stop');
await says('state', 'cancelled');
await page.keyboard.press('Escape');
ok('a_chat_stream_is_shown_as_well');

// Many at once.
const memory = await context.newCDPSession(page);
await memory.send('Performance.enable');
const heap = async () => {
  await memory.send('HeapProfiler.collectGarbage');
  const { metrics } = await memory.send('Performance.getMetrics');
  return metrics.find(metric => metric.name === 'JSHeapUsedSize').value / (1 << 20);
};
await Promise.all(Array.from({ length: 200 }, (_, n) => send(`slow ${String(n).padStart(3, '0')}`)));
await page.waitForFunction(() => document.querySelectorAll('#running tr:has(td)').length >= 201);
await says('summary', '201 in flight');
await picture('list');
await fits();
const [atFirst, nodes] = [await heap(), await page.evaluate(() => document.querySelectorAll('*').length)];
// The list as it comes, with its layout: most of the times that it takes are shorter than the longest, which others' work on this machine makes.
const update = await page.evaluate(() => {
  const times = [];
  for (let n = 0; n < 20; n++) {
    const next = structuredClone(list), began = performance.now();
    for (const s of next.data) { s.age_ms += 1000; s.events += 9; }
    take(next); document.getElementById('table').getBoundingClientRect();
    times.push(performance.now() - began);
  }
  return times.sort((a, b) => a - b);
});
await page.fill('#filter', 'slow 117');
assert.equal(await page.locator('#table tbody tr:has(td):visible').count(), 1);
await row('slow 117').click();
await says('text', 'Bergen');
await page.fill('#filter', 'nothing is called so');
assert.ok(await isShown('none'));
await page.fill('#filter', '');
await page.keyboard.press('Escape');
await page.waitForSelector('#watch', { state: 'hidden' });
assert.equal(await page.evaluate(() => document.querySelectorAll('*').length), nodes, 'elements that stay');
console.log(`  201 streams: an update with its layout ${update[0].toFixed(1)} ms at best, ${update[10].toFixed(1)} in the middle, ${update[19].toFixed(1)} at worst, heap ${atFirst.toFixed(1)} MiB, then ${(await heap()).toFixed(1)}; ${nodes} elements`);
assert.ok(await heap() < 40, 'the heap');
await isReadable('a list of 200');
ok('many_streams_at_once_stay_usable');

assert.deepEqual(complaints, []);
ok('the_policy_refuses_nothing_of_the_pages_own');

// The token: asked for, refused, known; kept where the user says, and sent in a header alone.
await send('slow of ada', { at: guarded, headers: { authorization: `Bearer ${token}` } });
const kept = () => page.evaluate(() => [sessionStorage.getItem('token'), localStorage.getItem('token')]);
await page.goto(`${guarded}/`);
await says('refused', 'This relay wants a token.');
await page.keyboard.type('a-wrong-token');
await page.keyboard.press('Enter');
await says('refused', 'This relay does not know that token.');
await picture('token');
await isReadable('the form for tokens');
assert.deepEqual(await kept(), [null, null]);
await page.setViewportSize(PHONE);
await fits();
await page.setViewportSize(WIDE);
await page.keyboard.type(token);
await page.keyboard.press('Enter');
await row('slow of ada').click();
await says('text', 'Bergen');
assert.deepEqual(await kept(), [token, null]);
await page.reload();
await says('text', 'Bergen');
await page.click('#key');
assert.deepEqual(await kept(), [null, null]);
assert.doesNotMatch(await page.textContent('main'), /Bergen|slow of ada/);
await page.fill('#token', token);
await page.check('#keep');
await page.keyboard.press('Enter');
await row('slow of ada').waitFor();
assert.deepEqual(await kept(), [null, token]);
assert.equal(await page.locator('body', { hasText: token }).count(), 0);
ok('the_token_is_in_no_url_and_is_kept_where_the_user_says');

// What left the page, all in all; and what can't.
const mine = [open, guarded].map(url => new URL(url).origin);
for (const request of requests) {
  assert.ok(mine.includes(new URL(request.url()).origin), request.url());
  assert.ok(!decodeURIComponent(request.url()).includes(token), 'a token in a URL');
  assert.equal(request.headers().cookie, undefined);
}
const leaks = await page.evaluate(async open => {
  const script = document.createElement('script'), image = document.createElement('img');
  script.textContent = 'globalThis.ran = 1'; image.src = `${open}/elsewhere`;
  document.body.append(script, image);
  return [globalThis.ran, await fetch(`${open}/streams`, { mode: 'no-cors' }).then(() => 'sent', () => 'refused')];
}, open);
assert.deepEqual(leaks, [undefined, 'refused']);
assert.ok(!requests.some(request => request.url().includes('elsewhere') && !request.failure()), 'an image from elsewhere');
console.log(`  ${requests.length} requests, all to their own origin`);
ok('no_request_leaves_the_origin');

for (const client of clients) client.abort();
await context.close();
