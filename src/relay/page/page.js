'use strict';
const $ = id => document.getElementById(id);
const make = (tag, text = '', name = '') => Object.assign(document.createElement(tag), { textContent: text, className: name });
const set = (node, text) => { if (node.textContent !== `${text}`) node.textContent = text; };
const pause = ms => new Promise(done => setTimeout(done, ms));
const isRunning = s => s.state === 'waiting' || s.state === 'streaming';
const short = n => n < 100 ? n.toFixed(1) : `${Math.round(n)}`;
const time = ms => ms == null ? '–' : ms < 1000 ? `${ms} ms` : ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60000)} m ${Math.floor(ms / 1000) % 60} s`;
const tokens = s => s.output_tokens == null ? '–' : `${s.input_tokens} → ${s.output_tokens}`;
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
      document.body.classList.add('lost');
      set($('summary'), error.status ? error.message : 'The relay does not answer: trying again');
    }
    await pause(wait);
  }
}
function take(next) {
  const before = new Map(list.data.map(s => [s.id, s])), isFirst = $('main').hidden;
  for (const s of next.data) {
    // Of one that runs the last second, of one that has ended all of it.
    const from = isRunning(s) && before.get(s.id) || { age_ms: s.first_event_ms ?? 0, events: 0 };
    s.rate = s.age_ms > from.age_ms ? short(1000 * (s.events - from.events) / (s.age_ms - from.age_ms)) : '–';
  }
  list = next;
  document.body.classList.remove('lost');
  set($('summary'), `${list.running} in flight · ${list.total - list.running} ended`);
  $('login').hidden = true; $('main').hidden = false;
  isFirst ? watch() : show();
}
function show() {
  const wanted = $('filter').value.toLowerCase();
  const shown = list.data.filter(s => `${s.model} ${s.provider} ${s.state} ${s.error ?? ''} ${s.id}`.toLowerCase().includes(wanted));
  const ids = new Set(shown.map(s => s.id)), focused = document.activeElement;
  for (const [id, row] of rows) if (!ids.has(id)) { row.remove(); rows.delete(id); }
  if (!ids.has(current)) current = shown[0]?.id;
  for (const group of ['running', 'ended']) {
    const members = shown.filter(s => isRunning(s) === (group === 'running'));
    $(group).hidden = !members.length;
    members.forEach((s, at) => {
      if (!rows.has(s.id)) rows.set(s.id, newRow(s));
      const row = rows.get(s.id), [model, provider, state, ...numbers] = row.cells, [link, more] = model.children, [word, code] = state.children;
      const who = `${s.provider} · ${s.api}`;
      set(link, s.model); set(provider, who); set(more, s.attempt > 1 ? `attempt ${s.attempt} · ${who}` : who); set(word, s.state); set(code, s.error ?? '');
      word.className = `state ${s.state}`; link.tabIndex = s.id === current ? 0 : -1;
      const values = [s.attempt, time(s.age_ms), time(s.first_event_ms), s.events, s.rate, tokens(s), s.readers];
      numbers.forEach((cell, i) => set(cell, values[i]));
      row.className = `${s.id === watched ? 'watched' : ''} ${s.attempt > 1 ? 'again' : ''}`;
      s.id === watched ? link.setAttribute('aria-current', 'true') : link.removeAttribute('aria-current');
      if ($(group).rows[at + 1] !== row) $(group).insertBefore(row, $(group).rows[at + 1] ?? null);
    });
  }
  if (focused !== document.activeElement && focused.isConnected) focused.focus();
  $('empty').hidden = list.total > 0; $('none').hidden = !list.total || shown.length > 0; $('table').hidden = !shown.length;
  $('key').hidden = false; set($('key'), token() ? 'Forget the token' : 'Use a token'); $('hint').hidden = !!token(); $('filter').hidden = !list.total;
  set($('curl'), [`curl -N ${location.origin}/v1/responses`, ...token() ? ['-H "authorization: Bearer $TOKEN"'] : [], "-H 'content-type: application/json'",
    `-d '{"model": "demo", "stream": true, "input": "hello"}'`].join(' \\\n  '));
  const s = list.data.find(s => s.id === watched);
  if (!s) return;
  set($('title'), s.model); set($('state'), s.state); $('state').className = `state ${s.state}`; $('stop').hidden = !isRunning(s);
  $('watch').classList.toggle('over', !isRunning(s));
  const facts = [s.provider, s.attempt, time(s.age_ms), time(s.first_event_ms), s.rate, tokens(s), s.readers, s.server_id ?? s.id];
  document.querySelectorAll('#facts dd').forEach((fact, i) => set(fact, facts[i]));
  if (s.error) say(s.error);
}
function newRow(s) {
  const row = make('tr'), link = make('a');
  link.href = `#${s.id}`;
  for (let cell = 0; cell < 10; cell++) row.append(make('td'));
  row.cells[0].append(link, make('small')); row.cells[2].append(make('span'), ' ', make('small'));
  return row;
}
// What went wrong with the stream that is watched. What says more holds.
function say(text) {
  if (!text || !$('failure').textContent.startsWith(text)) $('failure').textContent = text;
  $('failure').hidden = !text;
}
function call(key, name) {
  let shown = [...$('calls').children].find(shown => shown.dataset.key === key);
  if (!shown) { shown = make('div'); shown.dataset.key = key; shown.append(make('b', name), make('code')); $('calls').append(shown); }
  return shown.lastChild;
}
// What an event of either API shows.
function event(data) {
  const kind = data.type ?? '', key = `${data.output_index ?? data.item_id ?? data.item?.id}`, error = data.response?.error ?? data.error;
  if (/output_text\.delta$|refusal\.delta$/.test(kind)) $('text').append(data.delta);
  else if (/reasoning.*\.delta$/.test(kind)) $('reasoning').append(data.delta);
  else if (/(arguments|input|code)\.delta$/.test(kind)) call(key, 'call').append(data.delta);
  else if (/output_item\.(added|done)$/.test(kind) && /call/.test(data.item?.type)) {
    const shown = call(key, data.item.name ?? data.item.type), whole = data.item.arguments ?? data.item.input ?? '';
    if (kind.endsWith('done') && !shown.textContent) shown.append(whole);
  }
  if (error) say([error.code ?? error.type, error.message].filter(Boolean).join(': '));
  else if (kind === 'response.incomplete') say(`incomplete: ${data.response?.incomplete_details?.reason}`);
  for (const { index, delta = {} } of data.choices ?? []) {
    $('text').append(delta.content ?? ''); $('reasoning').append(delta.reasoning_content ?? delta.reasoning ?? '');
    for (const tool of delta.tool_calls ?? []) call(`${index} ${tool.index}`, tool.function?.name ?? 'call').append(tool.function?.arguments ?? '');
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
        $('raw').append(make('code', data));
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
  reading?.abort(); watched = location.hash.slice(1) || null; current = watched ?? before ?? current;
  document.body.classList.toggle('watching', !!watched); $('watch').hidden = !watched; $('stop').disabled = false;
  for (const pane of [...panes, 'counted', 'failure', 'state']) $(pane).replaceChildren();
  set($('title'), watched ?? ''); say(''); $('stop').hidden = true;
  show();
  if (watched) { reading = new AbortController(); read(watched, reading.signal); if (!$('table').offsetParent) $('title').focus(); }
  else rows.get(before)?.querySelector('a').focus();
}
function forget() { for (const storage of [sessionStorage, localStorage]) storage.removeItem('token'); }
function login(why) {
  listing?.abort(); reading?.abort(); forget();
  rows.forEach(row => row.remove()); rows.clear(); list = { data: [] };
  $('main').hidden = $('filter').hidden = true; $('login').hidden = false; $('key').hidden = !!why; set($('key'), 'Back'); set($('refused'), why); set($('summary'), ''); $('token').focus();
}
$('login').addEventListener('submit', e => {
  e.preventDefault(); forget();
  if ($('token').value) ($('keep').checked ? localStorage : sessionStorage).setItem('token', $('token').value);
  $('token').value = ''; follow();
});
$('key').addEventListener('click', () => $('login').hidden ? login('') : follow());
$('stop').addEventListener('click', () => {
  $('stop').disabled = true;
  ask(`/v1/responses/${encodeURIComponent(watched)}/cancel`, { method: 'POST' }).catch(error => { $('stop').disabled = false; say(error.message); });
});
$('filter').addEventListener('input', show);
$('table').addEventListener('focusin', e => { const row = e.target.closest('tr'); for (const [id, known] of rows) { if (known === row) current = id; known.querySelector('a').tabIndex = known === row ? 0 : -1; } });
$('table').addEventListener('keydown', e => {
  const links = [...document.querySelectorAll('#table a')], at = links.indexOf(document.activeElement);
  const to = links[{ ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[e.key]];
  if (to) { e.preventDefault(); to.focus(); }
});
addEventListener('keydown', e => { if (e.key === 'Escape' && watched) location.hash = ''; });
addEventListener('hashchange', watch);
document.addEventListener('visibilitychange', () => document.hidden ? listing?.abort() : $('login').hidden && follow());
follow();
