'use strict';
const $ = id => document.getElementById(id);
const make = (tag, text, name) => Object.assign(document.createElement(tag), { textContent: text ?? '', className: name ?? '' });
const rows = new Map();
let streams = [], watched = null, reading = null, timer = null;

// The token goes with each request by hand: no cookie, so no other page can use it. That is why there is no EventSource.
async function ask(path, options = {}) {
  const token = sessionStorage.getItem('token');
  const headers = { ...options.headers, ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(path, { ...options, headers, cache: 'no-store', credentials: 'omit' });
  if (answer.status === 401) { $('login').hidden = false; document.querySelector('main').hidden = true; }
  if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.error?.message ?? `status ${answer.status}`);
  return answer;
}
const isRunning = stream => stream.state === 'streaming' || stream.state === 'waiting';
const time = ms => ms == null ? '–' : ms < 1000 ? `${ms} ms` : ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60000)} m ${Math.floor(ms / 1000) % 60} s`;
const rate = stream => stream.age_ms > 0 ? (1000 * stream.events / stream.age_ms).toFixed(1) : '–';

function show() {
  const wanted = $('filter').value.toLowerCase();
  const shown = streams.filter(s => `${s.model} ${s.provider} ${s.state} ${s.id}`.toLowerCase().includes(wanted));
  const seen = new Set(shown.map(s => s.id));
  for (const [id, row] of rows) if (!seen.has(id)) { row.remove(); rows.delete(id); }
  shown.forEach((s, at) => {
    let row = rows.get(s.id);
    if (!row) {
      row = make('tr'); row.tabIndex = 0; row.dataset.id = s.id; rows.set(s.id, row);
      for (let cell = 0; cell < 8; cell++) row.append(make('td', '', cell > 1 ? 'n' : ''));
      row.cells[0].append(make('b'), make('small')); row.cells[1].append(make('span'));
    }
    const [model, state, ...numbers] = row.cells;
    model.children[0].textContent = s.model; model.children[1].textContent = `${s.provider} · ${s.api}${s.attempt > 1 ? ` · attempt ${s.attempt}` : ''}`;
    state.firstChild.textContent = s.state; state.firstChild.className = `state ${s.state}`;
    const values = [time(s.age_ms), time(s.first_event_ms), s.events, rate(s), s.output_tokens ?? '–', s.readers];
    numbers.forEach((cell, i) => { cell.textContent = values[i]; });
    row.setAttribute('aria-selected', s.id === watched);
    if ($('rows').rows[at] !== row) $('rows').insertBefore(row, $('rows').rows[at] ?? null);
  });
  $('empty').hidden = streams.length > 0;
  const s = streams.find(s => s.id === watched);
  if (!s) return;
  $('title').textContent = s.model; $('state').textContent = s.state; $('state').className = `state ${s.state}`;
  $('stop').hidden = !isRunning(s); $('watch').classList.toggle('ended', !isRunning(s));
  $('facts').textContent = [s.provider, `attempt ${s.attempt}`, time(s.age_ms), `first event ${time(s.first_event_ms)}`,
    `${rate(s)} events/s`, `${s.input_tokens ?? '–'} → ${s.output_tokens ?? '–'} tokens`, `${s.readers} reading`, s.server_id ?? s.id].join(' · ');
}
async function poll() {
  clearTimeout(timer);
  try {
    const list = await (await ask('/streams')).json();
    streams = list.data; document.body.className = document.body.className.replace(/live|lost/g, '') + ' live';
    const running = streams.filter(isRunning).length;
    $('summary').textContent = `${running} in flight, ${list.total - running} ended`;
    $('login').hidden = true; document.querySelector('main').hidden = false; show();
  } catch (error) { document.body.classList.remove('live'); document.body.classList.add('lost'); $('summary').textContent = error.message; }
  timer = setTimeout(poll, document.hidden ? 5000 : 1000);
}
function add(pane, text) {
  const near = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 40;
  pane.append(text); if (near) pane.scrollTop = pane.scrollHeight;
}
function call(key, name) {
  let shown = [...$('calls').children].find(shown => shown.dataset.key === key);
  if (!shown) { shown = make('div'); shown.dataset.key = key; shown.append(make('b', name), make('code')); add($('calls'), shown); }
  return shown.lastChild;
}
function event(data) {
  const kind = data.type ?? '', key = `${data.item_id ?? data.item?.id ?? data.output_index}`;
  if (kind === 'response.output_text.delta' || kind === 'response.refusal.delta') add($('text'), data.delta);
  else if (/reasoning.*text\.delta$/.test(kind)) add($('reasoning'), data.delta);
  else if (kind === 'response.output_item.added' && /call/.test(data.item?.type)) call(key, data.item.name ?? data.item.type);
  else if (/(arguments|input)\.delta$/.test(kind)) call(key, 'call').append(data.delta);
  else if (data.response?.error ?? data.error) add($('text'), `\n[${(data.response?.error ?? data.error).message ?? 'failed'}]`);
  for (const choice of data.choices ?? []) {
    const delta = choice.delta ?? {}, thought = delta.reasoning_content ?? delta.reasoning;
    if (delta.content) add($('text'), delta.content);
    if (thought) add($('reasoning'), thought);
    for (const tool of delta.tool_calls ?? []) call(`${choice.index} ${tool.index}`, tool.function?.name ?? 'call').append(tool.function?.arguments ?? '');
  }
}
// Reads the stream from its first event on, and goes on where it was when the connection breaks.
async function read(id, signal) {
  let after = null, count = 0, ended = false;
  while (!ended && !signal.aborted) try {
    const answer = await ask(`/v1/responses/${id}?stream=true${after == null ? '' : `&starting_after=${after}`}`, { signal });
    const body = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ''; ;) {
      const { done, value } = await body.read();
      if (done) { ended = true; break; }
      const blocks = (rest + value).replaceAll('\r\n', '\n').split('\n\n'); rest = blocks.pop();
      let raw = '';
      for (const block of blocks) {
        const lines = block.split('\n'), data = lines.filter(l => l.startsWith('data:')).map(l => l.slice(5).trim()).join('\n');
        after = lines.findLast(l => l.startsWith('id:'))?.slice(3).trim() ?? after;
        if (!data) continue;
        raw += `${data}\n`; count++;
        try { event(JSON.parse(data)); } catch { /* such as [DONE] */ }
      }
      if ($('raw').childNodes.length > 400) $('raw').firstChild.remove();
      if (raw) add($('raw'), raw);
      $('counted').textContent = `${count}`;
    }
  } catch (error) { if (signal.aborted) return; add($('raw'), `[${error.message}]\n`); if (error.message !== 'network error' && !(error instanceof TypeError)) return; await new Promise(r => setTimeout(r, 1000)); }
}
function watch(id) {
  reading?.abort(); reading = null; watched = id;
  document.body.classList.toggle('watching', !!id); $('watch').hidden = !id;
  for (const pane of ['text', 'reasoning', 'calls', 'raw', 'counted']) $(pane).replaceChildren();
  show();
  if (id) { reading = new AbortController(); read(id, reading.signal); }
}
const open = target => { const row = target.closest('tr[data-id]'); if (row) location.hash = row.dataset.id; };
$('rows').addEventListener('click', e => open(e.target));
$('rows').addEventListener('keydown', e => {
  if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); open(e.target); }
  const next = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[e.key];
  if (next) { e.preventDefault(); e.target[next]?.focus(); }
});
addEventListener('keydown', e => { if (e.key === 'Escape') location.hash = ''; });
addEventListener('hashchange', () => watch(location.hash.slice(1) || null));
$('back').addEventListener('click', () => { location.hash = ''; });
$('filter').addEventListener('input', show);
$('stop').addEventListener('click', () => ask(`/v1/responses/${watched}/cancel`, { method: 'POST' }).catch(e => add($('raw'), `[${e.message}]\n`)).then(poll));
$('login').addEventListener('submit', e => { e.preventDefault(); sessionStorage.setItem('token', $('token').value); $('token').value = ''; poll(); });
document.addEventListener('visibilitychange', poll);
poll().then(() => watch(location.hash.slice(1) || null));
