"use strict";

// The page stands at <prefix>/<service>/ui/v1/ on a gateway, or at <prefix>/<service>/ on an instance itself.
// Everything else is found from there.
const CONTROL = "demo";
const place = location.pathname.match(/^(.*)\/([^/]+)\/ui\/v1\//) || location.pathname.match(/^(.*)\/([^/]+)\/[^/]*$/);
const atGateway = location.pathname.includes("/ui/v1/");
const service = place[2] === CONTROL ? "discoverableclient" : place[2];
const root = location.host + place[1] + "/" + service;
const sockets = (location.protocol === "https:" ? "wss://" : "ws://") + root + (atGateway ? "/ws/v1" : "/ws");
const control = location.protocol + "//" + location.host + place[1] + "/" + CONTROL + "/api/v1/instances";
const query = new URLSearchParams(location.search);

const $ = (id) => document.getElementById(id);

// line appends one line to a list, keeps the last hundred, and stays at the end if the reader was there.
function line(list, parts) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const li = document.createElement("li");
  for (const [className, text] of parts) {
    const span = document.createElement("span");
    span.className = className;
    span.textContent = text;
    if (className === "badge") span.dataset.instance = text;
    li.append(span);
  }
  list.append(li);
  while (list.children.length > 100) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function clock() {
  return new Date().toLocaleTimeString([], { hour12: false });
}

function tell(text) {
  line($("events"), [["side", clock()], ["body", text]]);
}

// Session is a WebSocket that comes back: after a close it tries again, each time a little later, unless the
// close was a plain goodbye (1000) or asks for credentials.
class Session {
  constructor(title, url, stateElement, on) {
    Object.assign(this, { title, url, on, element: stateElement, tries: 0 });
    this.connect();
  }

  get open() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  connect() {
    clearTimeout(this.timer);
    this.show("connecting", "connecting");
    const socket = this.socket = new WebSocket(this.url);
    socket.onopen = () => {
      tell(`${this.title}: open`);
      this.show("open", "open");
      this.on.open?.();
    };
    socket.onmessage = (event) => {
      this.tries = 0; // only a session that works starts the count anew
      this.on.message(JSON.parse(event.data));
    };
    socket.onclose = (event) => this.closed(event.code, event.reason);
  }

  closed(code, reason) {
    const why = `closed ${code}` + (reason ? ` "${reason}"` : "") + (code === 1006 ? " (lost, no goodbye)" : "");
    tell(`${this.title}: ${why}`);
    this.on.closed?.(code, reason);
    if (code === 1000 || reason === "Invalid login credentials") {
      this.show("closed", why);
      return;
    }
    this.wait(why, Math.min(15000, 500 * 2 ** this.tries++) * (0.75 + Math.random() / 2));
  }

  wait(why, ms) {
    const at = Date.now() + ms;
    const tick = () => {
      const left = at - Date.now();
      if (left <= 0) {
        this.connect();
        return;
      }
      this.show("waiting", why + ", again");
      this.element.dataset.in = ` in ${Math.ceil(left / 1000)} s`; // shown by the style sheet: not read out each second
      this.timer = setTimeout(tick, Math.min(left, 1000));
    };
    tick();
  }

  show(state, text) {
    this.element.dataset.state = state;
    delete this.element.dataset.in;
    if (this.element.textContent !== text) this.element.textContent = text;
    this.on.state?.(state);
  }
}

// Upper case: what was sent and not answered yet is in pending, oldest first.
const pending = [];
let last = "";

const shout = new Session("upper case", sockets + "/uppercase?instance=1", $("state"), {
  state(state) {
    $("send").disabled = state !== "open";
    $("connect").hidden = state !== "closed" && state !== "waiting";
  },
  open() {
    $("login").hidden = true;
    const text = query.get("say"); // ?say=hello: a link that says hello, until it is answered
    if (text) send(text);
  },
  message(answer) {
    query.delete("say");
    const sent = pending.shift();
    const took = sent ? `${(performance.now() - sent.at).toFixed(1)} ms` : "";
    line($("answers"), [["body", answer.text], ["side", took], ["badge", answer.instance]]);
    if (answer.instance !== last) tell(`upper case: answered by ${answer.instance}`);
    last = answer.instance;
  },
  closed(code, reason) {
    last = "";
    for (const sent of pending.splice(0)) line($("answers"), [["body faint", `${sent.text}: not answered`]]);
    $("login").hidden = reason !== "Invalid login credentials";
  },
});

function send(text) {
  pending.push({ text, at: performance.now() });
  shout.socket.send(text);
}

$("url").textContent = shout.url;
$("login-link").href = shout.url.replace(/^ws/, "http").replace(/\/uppercase.*/, "/login");
$("connect").onclick = () => shout.connect();
$("form").onsubmit = (event) => {
  event.preventDefault();
  if (!shout.open || $("text").value === "") return;
  send($("text").value);
  $("text").select();
};

// Chat.
const room = query.get("room") || "lobby";
const me = query.get("name") || "guest-" + Math.random().toString(36).slice(2, 5);

const chat = new Session("chat", `${sockets}/chat?${new URLSearchParams({ room, name: me })}`, $("chat-state"), {
  state(state) {
    $("say").disabled = state !== "open";
  },
  message(m) {
    const body = m.type === "message" ? ["body", `${m.from}: ${m.text}`]
      : ["body faint", `${m.from} ${m.type}, ${m.members} in the room`];
    line($("messages"), [body, ["badge", m.instance]]);
  },
});

$("room").textContent = room;
$("name").textContent = me;
$("other").href = "?" + new URLSearchParams({ room });
$("chat-form").onsubmit = (event) => {
  event.preventDefault();
  if (!chat.open || $("line").value === "") return;
  chat.socket.send($("line").value);
  $("line").value = "";
};

// Instances: rows are made once and then changed in place, so that a button keeps the focus.
const rows = new Map();

function row(name) {
  if (!rows.has(name)) {
    const li = document.createElement("li");
    const parts = {};
    for (const [key, tag, className] of [["badge", "span", "badge"], ["state", "p", "state"], ["side", "span", "side"], ["button", "button", "quiet"]]) {
      parts[key] = document.createElement(tag);
      parts[key].className = className;
      li.append(parts[key]);
    }
    parts.badge.textContent = parts.badge.dataset.instance = name;
    parts.button.type = "button";
    parts.button.onclick = () => change(name, parts.button.dataset.verb);
    $("instances").append(li);
    rows.set(name, parts);
  }
  return rows.get(name);
}

function showInstances(all) {
  for (const i of all) {
    const { state, side, button } = row(i.name);
    state.dataset.state = state.textContent = i.state;
    const up = i.state === "running";
    side.textContent = !up ? "" : i.sessions === 1 ? "1 session" : `${i.sessions} sessions`;
    button.dataset.verb = up ? "stop" : "start";
    button.textContent = up ? "Stop" : "Start";
    button.setAttribute("aria-label", `${button.textContent} instance ${i.name}`);
    button.disabled = !up && i.state !== "stopped";
  }
}

async function ask(url, options) {
  const answer = await fetch(url, { signal: AbortSignal.timeout(20000), ...options });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return answer.json();
}

async function change(name, verb) {
  row(name).button.disabled = true;
  tell(`${verb} instance ${name}`);
  try {
    showInstances(await ask(`${control}/${encodeURIComponent(name)}/${verb}`, { method: "POST" }));
  } catch (err) {
    tell(`${verb} instance ${name}: ${err.message}`);
    row(name).button.disabled = false;
  }
}

async function poll() {
  if (!document.hidden) {
    try {
      showInstances(await ask(control));
      $("control-note").hidden = false;
    } catch {
      if (rows.size === 0) $("control-note").textContent = "Instances cannot be started and stopped from here.";
    }
  }
  setTimeout(poll, 1500);
}

poll();
