// What the servers behind the page's test say: node scripts.mjs FOLDER.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.argv[2];
const script = (name, replies, after = 'repeat_last') => writeFileSync(join(folder, `${name}.json`), JSON.stringify({ replies, after }));

// The events of a response: a thought, a call, a text, each in pieces.
function events(id, thoughts, tool, words) {
  const all = [];
  const push = (type, members) => all.push({ event: type, data: JSON.stringify({ type, sequence_number: all.length, ...members }) });
  const response = { id, object: 'response', status: 'in_progress', output: [] };
  push('response.created', { response });
  push('response.output_item.added', { output_index: 0, item: { id: `rs_${id}`, type: 'reasoning', summary: [] } });
  for (const delta of thoughts) push('response.reasoning_summary_text.delta', { output_index: 0, item_id: `rs_${id}`, summary_index: 0, delta });
  const call = { id: `fc_${id}`, type: 'function_call', call_id: `call_${id}`, name: tool.name, arguments: '' };
  push('response.output_item.added', { output_index: 1, item: call });
  for (const delta of tool.pieces) push('response.function_call_arguments.delta', { output_index: 1, item_id: call.id, delta });
  push('response.output_item.done', { output_index: 1, item: { ...call, status: 'completed', arguments: tool.pieces.join('') } });
  push('response.output_item.added', { output_index: 2, item: { id: `msg_${id}`, type: 'message', role: 'assistant', content: [] } });
  for (const delta of words) push('response.output_text.delta', { output_index: 2, item_id: `msg_${id}`, content_index: 0, delta });
  return all;
}
const pieces = text => text.match(/\S+\s*/g);

const thought = pieces('The question is about the weather in two cities. I look both up, compare the wind and the rain, and say which one is better for a walk on Sunday. ');
const weather = { name: 'lookup_weather', pieces: ['{"city":', ' "Bergen",', ' "day": "Sunday",', ' "units": "metric"}'] };
const answer = pieces('Bergen expects light rain until noon and a fresh wind from the west, while Oslo stays dry with some sun. For a long walk Oslo is the better choice; take a jacket, since the evening is cool.\n\n'.repeat(12));
const slow = { body: { events: events('slow', thought, weather, answer) }, pace: '100ms', faults: [{ at: 'body_end', do: 'hang' }] };
script('slow', [slow]);

const html = '<img src=x onerror="globalThis.ran=1"><script>globalThis.ran=1</script><svg onload=globalThis.ran=1><b>bold</b>';
const odd = { name: html, pieces: [JSON.stringify({ html }), html] };
script('html', [{ body: { events: events(html, [html], odd, [html, `javascript:${html}`]) }, pace: '10ms', faults: [{ at: 'body_end', do: 'hang' }] }]);

const done = events('flaky', thought.slice(0, 8), weather, answer.slice(0, 20));
done.push({ event: 'response.completed', data: JSON.stringify({ type: 'response.completed', sequence_number: done.length,
  response: { id: 'flaky', object: 'response', status: 'completed', output: [], usage: { input_tokens: 812, output_tokens: 1204, total_tokens: 2016 } } }) });
script('flaky', [{ status: 503, headers: { 'retry-after': '0' } }, { body: { events: done } }]);

const failing = events('broken', thought, weather, answer.slice(0, 12));
failing.push({ event: 'response.failed', data: JSON.stringify({ type: 'response.failed', sequence_number: failing.length,
  response: { id: 'broken', object: 'response', status: 'failed', output: [], error: { code: 'html_not_allowed', message: html } } }) });
script('broken', [{ body: { events: failing } }]);
