// The live page of /application/: it asks the lists beside it every two seconds, and shows them. What they say comes from clients
// and services: it is only ever set as text.
'use strict';

const every = 2000;      // ms between two looks
const most = 500;        // sessions that are shown
const rows = new Map();  // of a table's body, by key

const at = (id) => document.getElementById(id);

async function ask(path, options) {
  const response = await fetch(new URL(path, location.origin + '/application/'), { cache: 'no-store', ...options });
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    throw new Error(said.messages?.[0]?.messageContent ?? `${response.status} ${response.statusText}`);
  }
  return response;
}

// act does what a button says, and shows what came of it.
async function act(button, method, path) {
  button.disabled = true;
  try {
    await ask(path, { method });
    note('');
  } catch (error) {
    note(`${button.textContent}: ${error.message}`);
  }
  button.disabled = false;
  look();
}

function note(text) {
  at('note').textContent = text;
  at('note').hidden = text === '';
}

function button(text, label, method, path, question) {
  const b = document.createElement('button');
  b.type = 'button';
  b.textContent = text;
  b.setAttribute('aria-label', label);
  b.addEventListener('click', () => {
    if (!question || confirm(question)) act(b, method, path);
  });
  return b;
}

// fill makes a table's body hold exactly these rows: [key, cells, actions]. Rows that stay keep their elements, so that a button
// does not go away under the pointer.
function fill(table, list) {
  const body = table.tBodies[0];
  const known = rows.get(table) ?? new Map();
  const next = new Map();
  let before = null;
  for (const [key, cells, actions] of list) {
    const sign = actions.sign;
    let row = known.get(key);
    if (!row || row.dataset.sign !== sign) {
      const made = document.createElement('tr');
      for (const cell of cells) made.insertCell().className = cell.number ? 'number' : '';
      made.insertCell().append(...actions.make());
      made.dataset.sign = sign;
      row?.replaceWith(made);
      row = made;
    }
    cells.forEach((cell, i) => {
      const td = row.cells[i];
      if (td.textContent !== cell.text) td.textContent = cell.text;
      if (cell.title) td.title = cell.title;
      if (cell.state) td.dataset.state = cell.state;
    });
    const place = before ? before.nextSibling : body.firstChild;
    if (row !== place) body.insertBefore(row, place);
    before = row;
    next.set(key, row);
  }
  while (before ? before.nextSibling : body.firstChild) (before ? before.nextSibling : body.firstChild).remove();
  rows.set(table, next);
}

const text = (value, title) => ({ text: String(value), title });
const number = (value) => ({ text: String(value), number: true });

function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} m`;
}

function amount(bytes, messages) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  for (; bytes >= 1024 && i < units.length - 1; i++) bytes /= 1024;
  return `${messages} · ${i ? bytes.toFixed(1) : bytes} ${units[i]}`;
}

function stateOf(e) {
  if (e.drained) return 'drained';
  if (e.leaving) return 'leaving';
  if (e.ejected?.ejected ?? e.ejected) return 'ejected';
  return e.health.state === 'unknown' ? 'up' : e.health.state;
}

function showServices(list) {
  const out = [];
  for (const s of list) {
    const path = `services/${encodeURIComponent(s.serviceId)}`;
    s.endpoints.forEach((e, i) => {
      const state = stateOf(e);
      const which = `${path}/drain?instance=${encodeURIComponent(e.instance)}`;
      const spread = i === 0 && s.endpoints.length > 1;
      out.push([`${s.serviceId} ${e.url} ${e.instance}`, [
        text(i ? '' : s.serviceId), text(e.instance, e.url), { ...text(state, e.ejected?.reason ?? e.health.error ?? ''), state }, number(e.sessions),
      ], {
        sign: `${state} ${spread}`,
        make: () => [
          e.drained ? button('Undrain', `Undrain ${e.instance}`, 'DELETE', which) :
            button('Drain', `Drain ${e.instance}`, 'POST', which, `Have ${e.instance} take nothing new, and its sessions leave it?`),
          ...(spread ? [button('Rebalance', `Rebalance ${s.serviceId}`, 'POST', `${path}/rebalance`)] : []),
        ],
      }]);
    });
    if (s.endpoints.length === 0) {
      out.push([s.serviceId, [text(s.serviceId), text('none'), { ...text('down'), state: 'down' }, number(0)], { sign: '', make: () => [] }]);
    }
  }
  fill(at('services'), out);
}

function showSessions(list, more) {
  const now = Date.now();
  const wanted = at('filter').value.trim().toLowerCase();
  const found = list.filter((s) => !wanted ||
    [s.client, s.path, s.host, s.instance, s.service, s.user, s.sessionId].some((v) => v?.toLowerCase().includes(wanted)));
  fill(at('sessions'), found.map((s) => {
    const path = `websockets/${s.sessionId}`;
    return [s.sessionId, [
      text(s.sessionId.slice(0, 8), s.sessionId), text(s.user ? `${s.user}@${s.client}` : s.client), text(s.path, `${s.gatewayPath} → ${s.serviceUrl}`),
      text(s.instance, s.service), number(span(s.duration_ms)), number(span(now - Date.parse(s.last_activity))),
      number(amount(s.bytes_in, s.messages_in)), number(amount(s.bytes_out, s.messages_out)),
      number(s.uncertain ? `${s.moves} (${s.uncertain} uncertain)` : s.moves),
    ], {
      sign: '',
      make: () => [
        button('Move', `Move ${s.sessionId}`, 'POST', `${path}/move`),
        button('Close', `Close ${s.sessionId}`, 'DELETE', `${path}?reason=closed%20by%20an%20operator`, `Close the session of ${s.client}?`),
      ],
    }];
  }));
  at('more').hidden = !more && found.length === list.length;
  at('more').textContent = `${found.length} shown` + (more ? `, of the first ${list.length}: \`fairlead sessions\` has them all.` : ` of ${list.length}.`);
}

function showProblems(list) {
  at('problems-section').hidden = list.length === 0;
  at('problems').replaceChildren(...list.map((p) => {
    const li = document.createElement('li');
    li.textContent = `${p.route || p.serviceId}: ${p.problem}`;
    return li;
  }));
}

let looking = false;

async function look() {
  if (looking || document.hidden) return;
  looking = true;
  try {
    const [sessions, services, routes] = await Promise.all([
      ask(`websockets?view=full&limit=${most}`), ask('services').then((r) => r.json()), ask('routes').then((r) => r.json()),
    ]);
    const list = await sessions.json();
    const live = services.flatMap((s) => s.endpoints).reduce((sum, e) => sum + e.sessions, 0);
    showServices(services);
    showSessions(list, sessions.headers.has('Link'));
    showProblems(routes.problems);
    at('totals').textContent = `${live} sessions · ${services.length} services · ${routes.routes.length + routes.rules.length} routes`;
    state('up', 'live');
  } catch (error) {
    state('down', `no answer: ${error.message}`);
  }
  looking = false;
}

function state(name, said) {
  at('state').dataset.state = name;
  at('state').textContent = said;
}

ask('version').then((r) => r.json()).then((v) => { at('version').textContent = `${v.apiml.version} ${v.apiml.commitHash}`; }, () => {});
at('filter').addEventListener('input', look);
document.addEventListener('visibilitychange', look);
setInterval(look, every);
look();
