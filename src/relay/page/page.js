'use strict';
const $ = id => document.getElementById(id), body = document.body;
const set = (node, text) => { if (node.textContent !== `${text}`) node.textContent = text; };
const pause = ms => new Promise(done => setTimeout(done, ms));
const isRunning = s => s.state === 'waiting' || s.state === 'streaming';
const token = () => sessionStorage.getItem('token') ?? localStorage.getItem('token');
const rows = new Map(), panes = ['reasoning', 'text', 'calls', 'raw'];
let list = { data: [] }, watched = null, current = null, listing = null, reading = null;

// The token goes with each request by hand, which an EventSource can't: no cookie, so no other page can use it.
async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(token() && { authorization: `Bearer ${token()}` }) };
  const answer = await fetch(path, { ...options, headers, cache: 'no-store', credentials: 'omit' });
  if (answer.ok) return answer;
  const error = (await answer.json().catch(() => null))?.error;
  throw Object.assign(new Error(error?.message ?? `status ${answer.status}`), { status: answer.status });
}
// The events of a stream: those that came together, together.
async function* events(path, signal) {
  const answer = await ask(path, { signal, headers: { accept: 'text/event-stream' } });
  const body = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ''; ;) {
    const { done, value } = await body.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    yield blocks.map(block => {
      const field = name => block.split(/\r?\n/).filter(l => l.startsWith(`${name}:`)).map(l => l.slice(name.length + 1).trim()).join('\n');
      return { id: field('id'), data: field('data') };
    }).filter(event => event.data);
  }
}
// Follows the list for as long as somebody looks at it.
async function follow() {
  listing?.abort();
  const { signal } = listing = new AbortController();
  for (let wait = 500; !signal.aborted && !document.hidden; wait = Math.min(2 * wait, 15000)) {
    try {
      for await (const lists of events('/streams', signal)) if (lists.length) { take(JSON.parse(lists.at(-1).data)); wait = 500; }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401) return login(token() ? 'This relay does not know that token.' : 'This relay wants a token.');
      body.classList.add('lost'); set($('summary'), error.status ? error.message : 'The relay does not answer: trying again');
    }
    await pause(wait);
  }
}
function take(next) {
  const before = new Map(list.data.map(s => [s.id, s])), isFirst = body.dataset.shows !== 'list';
  for (const s of next.data) {
    // Of one that runs the last second, of one that has ended all of it.
    const from = isRunning(s) && before.get(s.id) || { age_ms: s.first_event_ms ?? 0, events: 0 };
    s.rate = 1000 * (s.events - from.events) / (s.age_ms - from.age_ms);
  }
  list = next; body.dataset.shows = 'list'; body.classList.remove('lost');
  set($('summary'), `${list.running} in flight · ${list.total - list.running} ended`);
  isFirst ? watch() : show();
}
// What is shown of a stream, where `data-of` asks for it.
function fill(root, s) {
  const time = ms => ms == null ? '–' : ms < 1000 ? `${ms} ms` : ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60000)} m ${Math.floor(ms / 1000) % 60} s`;
  const who = `${s.provider} · ${s.api}`, texts = { ...s, who, more: s.attempt > 1 ? `attempt ${s.attempt} · ${who}` : who, id: s.server_id ?? s.id,
    age: time(s.age_ms), first: time(s.first_event_ms), rate: !isFinite(s.rate) ? '–' : s.rate.toFixed(s.rate < 100 ? 1 : 0),
    tokens: s.output_tokens == null ? '–' : `${s.input_tokens} → ${s.output_tokens}` };
  for (const node of root.querySelectorAll('[data-of]')) set(node, texts[node.dataset.of] ?? '');
  root.dataset.state = s.state; root.classList.toggle('again', s.attempt > 1);
}
function show() {
  const wanted = $('filter').value.toLowerCase(), focused = document.activeElement;
  const shown = list.data.filter(s => [s.model, s.provider, s.state, s.error, s.id, s.server_id].join(' ').toLowerCase().includes(wanted));
  const ids = new Set(shown.map(s => s.id)), at = { running: 0, ended: 0 };
  for (const [id, row] of rows) if (!ids.has(id)) { row.remove(); rows.delete(id); }
  if (!ids.has(current)) current = shown[0]?.id;
  for (const s of shown) {
    if (!rows.has(s.id)) rows.set(s.id, $('row').content.firstElementChild.cloneNode(true));
    const row = rows.get(s.id), link = row.querySelector('a'), group = isRunning(s) ? 'running' : 'ended', place = $(group).rows[++at[group]];
    fill(row, s); link.href = `#${s.id}`; link.tabIndex = s.id === current ? 0 : -1; link.ariaCurrent = row.classList.toggle('watched', s.id === watched) ? 'true' : null;
    if (place !== row) $(group).insertBefore(row, place ?? null);
  }
  for (const group in at) $(group).hidden = !at[group];
  if (focused !== document.activeElement && focused.isConnected) focused.focus();
  body.dataset.has = shown.length ? 'some' : list.total ? 'none' : 'nothing';
  set($('key'), token() ? 'Forget the token' : 'Use a token');
  set($('curl'), [`curl -N ${location.origin}/v1/responses`, ...token() ? ['-H "authorization: Bearer $TOKEN"'] : [], "-H 'content-type: application/json'",
    `-d '{"model": "demo", "stream": true, "input": "hello"}'`].join(' \\\n  '));
  const s = list.data.find(s => s.id === watched);
  if (s) { fill($('watch'), s); say(s.error ?? ''); }
}
// What went wrong with the stream that is watched. The first words hold, but for more of them.
function say(text) { if (!$('failure').textContent || text.startsWith($('failure').textContent)) set($('failure'), text); }
function call(key, name) {
  let shown = [...$('calls').children].find(shown => shown.dataset.key === key);
  if (!shown) {
    const [call, title, code] = ['div', 'b', 'code'].map(tag => document.createElement(tag));
    call.dataset.key = key; title.append(name); call.append(title, code); $('calls').append(shown = call);
  }
  return shown.lastChild;
}
// What an event of either API shows.
function event(data) {
  const kind = data.type ?? '', key = `${data.output_index ?? data.item_id}`, error = data.response?.error ?? data.error;
  if (/output_text\.delta$|refusal\.delta$/.test(kind)) $('text').append(data.delta);
  else if (/reasoning.*\.delta$/.test(kind)) $('reasoning').append(data.delta);
  else if (/(arguments|input|code)\.delta$/.test(kind)) call(key, 'call').append(data.delta);
  else if (/output_item\.(added|done)$/.test(kind) && /call/.test(data.item?.type)) {
    const shown = call(key, data.item.name ?? data.item.type);
    if (kind.endsWith('done') && !shown.textContent) shown.append(data.item.arguments ?? data.item.input ?? '');
  }
  if (error) say([error.code ?? error.type, error.message].filter(Boolean).join(': '));
  else if (kind === 'response.incomplete') say(`incomplete: ${data.response?.incomplete_details?.reason}`);
  for (const { index, delta } of data.choices ?? []) {
    $('text').append(delta?.content ?? ''); $('reasoning').append(delta?.reasoning_content ?? delta?.reasoning ?? '');
    for (const tool of delta?.tool_calls ?? []) call(`${index} ${tool.index}`, tool.function?.name ?? 'call').append(tool.function?.arguments ?? '');
  }
}
// Reads the stream from its first event on, and goes on where it was when the connection breaks.
async function read(id, signal) {
  let after = '', count = 0;
  for (let wait = 500; !signal.aborted; wait = Math.min(2 * wait, 15000)) try {
    for await (const batch of events(`/v1/responses/${encodeURIComponent(id)}?stream=true${after && `&starting_after=${after}`}`, signal)) {
      if (signal.aborted) return;
      const atEnd = panes.filter(pane => $(pane).scrollHeight - $(pane).scrollTop - $(pane).clientHeight < 40);
      for (const { id, data } of batch) {
        after = id || after; count++; wait = 500;
        $('raw').appendChild(document.createElement('code')).append(data);
        try { event(JSON.parse(data)); } catch { /* no JSON, such as [DONE] */ }
      }
      while ($('raw').childElementCount > 1000) $('raw').firstChild.remove();
      set($('counted'), count > 1000 ? `the last 1000 of ${count}` : count);
      for (const pane of atEnd) $(pane).scrollTop = $(pane).scrollHeight;
    }
    return;
  } catch (error) {
    if (signal.aborted) return;
    if (error.status) return say(error.message);
    await pause(wait);
  }
}
// Watches the stream that the address names, or none.
function watch() {
  const before = watched;
  clear(); watched = location.hash.slice(1) || null; current = watched ?? before ?? current;
  body.classList.toggle('watching', !!watched); $('stop').disabled = false;
  set($('title'), watched ?? ''); show();
  if (!watched) rows.get(before)?.querySelector('a').focus();
  else { reading = new AbortController(); read(watched, reading.signal); if (!$('table').offsetParent) $('title').focus(); }
}
function clear() {
  reading?.abort(); delete $('watch').dataset.state;
  for (const node of [...panes.map($), $('counted'), $('failure'), ...$('watch').querySelectorAll('[data-of]')]) node.replaceChildren();
}
function forget() { for (const storage of [sessionStorage, localStorage]) storage.removeItem('token'); }
function login(why) {
  listing?.abort(); clear(); forget(); rows.forEach(row => row.remove()); rows.clear(); list = { data: [] };
  body.dataset.shows = why ? 'login wanted' : 'login'; set($('key'), 'Back'); set($('refused'), why); set($('summary'), ''); $('token').focus();
}
$('login').addEventListener('submit', e => {
  e.preventDefault(); forget();
  if ($('token').value) ($('keep').checked ? localStorage : sessionStorage).setItem('token', $('token').value);
  $('token').value = ''; follow();
});
$('key').addEventListener('click', () => body.dataset.shows === 'list' ? login('') : follow());
$('stop').addEventListener('click', () => {
  $('stop').disabled = true;
  ask(`/v1/responses/${encodeURIComponent(watched)}/cancel`, { method: 'POST' }).catch(error => { $('stop').disabled = false; say(error.message); });
});
$('filter').addEventListener('input', show);
// One key goes into the list and out of it; arrows move in it.
$('table').addEventListener('focusin', e => { rows.get(current)?.querySelector('a').setAttribute('tabindex', -1); e.target.tabIndex = 0; current = e.target.hash.slice(1); });
$('table').addEventListener('keydown', e => {
  const links = [...$('table').querySelectorAll('a')], at = links.indexOf(e.target);
  const to = links[{ ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[e.key]];
  if (to) { e.preventDefault(); to.focus(); }
});
addEventListener('keydown', e => { if (e.key === 'Escape' && watched) location.hash = ''; });
addEventListener('hashchange', watch);
document.addEventListener('visibilitychange', () => document.hidden ? listing?.abort() : body.dataset.shows.startsWith('login') || follow());
follow();
