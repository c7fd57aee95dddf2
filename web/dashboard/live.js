// Keeps the answers that a view needs up to date: asks again with the tag of the last answer, less often in a
// hidden tab, and knows since when the sidecar has not answered.

const VISIBLE_MS = 2000;
const HIDDEN_MS = 30000;
const SLOWEST_MS = 6000;
const SELDOM_MS = 6000;
const TIMEOUT_MS = 6000;
const KEPT = 300;
const AGAIN = 3;

export class Live {
  /**
   * `render` is called after every round; `wanted` gives the addresses that are needed now, `seldom` says
   * which of them need not be asked in every round, and `agree` whether what they answered is of one moment.
   */
  constructor(render, wanted, seldom, agree) {
    this.render = render;
    this.wanted = wanted;
    this.seldom = seldom;
    this.agree = agree;
    this.answers = new Map();
    this.lastHeard = null;
    this.downSince = null;
    this.failures = 0;
    this.indexState = null;
    this.timer = null;
    this.round = 0;
    document.addEventListener("visibilitychange", () => this.wake());
    window.addEventListener("online", () => this.wake());
  }

  /** Ask now, and from then on regularly. */
  wake() {
    clearTimeout(this.timer);
    this.poll(++this.round);
  }

  /** What an address answered last: `{data, problem, at}`, or undefined. */
  answer(address) {
    return this.answers.get(address);
  }

  get down() {
    return this.downSince !== null;
  }

  async poll(round) {
    const asked = new Set();
    let again = AGAIN;
    for (;;) {
      const fresh = [...new Set(this.wanted())].filter((address) => !asked.has(address));
      if (fresh.length === 0) {
        break;
      }
      fresh.forEach((address) => asked.add(address));
      const heard = await Promise.all(
        fresh.filter((address) => this.due(address)).map((address) => this.ask(address)),
      );
      if (round !== this.round) {
        return;
      }
      this.note(heard);
      if (!this.down && again > 0 && !this.agree()) {
        again -= 1; // something changed between two answers: nothing is shown of that
        asked.clear();
        continue;
      }
      this.render();
      if (this.down) {
        break;
      }
    }
    this.forget(asked);
    this.timer = setTimeout(() => this.poll(round), this.pause());
  }

  due(address) {
    const known = this.answers.get(address);
    return !known || known.failedSince || !this.seldom(address) || Date.now() - known.at >= SELDOM_MS;
  }

  /**
   * Since when some of what is wanted has not been answered as it should be, whether any of that is `known` from
   * before, and why; null if all was.
   */
  get trouble() {
    const failing = this.wanted()
      .map((address) => this.answers.get(address))
      .filter((known) => known?.failedSince);
    if (failing.length === 0) {
      return null;
    }
    const since = Math.min(...failing.map((known) => known.failedSince));
    const known = failing.some(({ data }) => data !== undefined && data !== null);
    return { since, known, detail: failing[0].problem?.detail ?? "It took too long." };
  }

  pause() {
    if (document.hidden) {
      return HIDDEN_MS;
    }
    return Math.min(VISIBLE_MS * 2 ** Math.max(0, this.failures - 2), SLOWEST_MS);
  }

  note(heard) {
    if (heard.includes(true)) {
      this.lastHeard = Date.now();
      this.downSince = null;
      this.failures = 0;
    } else if (heard.length > 0) {
      this.downSince ??= Date.now();
      this.failures += 1;
    }
  }

  /** Ask once; true if the sidecar answered anything. */
  async ask(address) {
    const known = this.answers.get(address);
    const headers = { Accept: "application/json" };
    if (known?.etag) {
      headers["If-None-Match"] = known.etag;
    }
    try {
      const response = await fetch(address, {
        headers,
        cache: "no-store",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      return await this.take(address, known, response);
    } catch {
      this.failed(address, known, null);
      return false;
    }
  }

  /** What was known stays, marked as old. */
  failed(address, known, problem) {
    this.keep(address, { at: 0, ...known, problem, failedSince: known?.failedSince ?? Date.now() });
  }

  async take(address, known, response) {
    this.indexState = response.headers.get("X-Index-State") ?? this.indexState;
    if (response.status === 304) {
      this.keep(address, { ...known, at: Date.now(), problem: null, failedSince: null });
      return true;
    }
    const type = response.headers.get("Content-Type") ?? "";
    if (!/^application\/(problem\+)?json/.test(type)) {
      this.failed(address, known, null); // a proxy answers in its place
      return false;
    }
    const body = await response.json();
    if (response.ok) {
      this.keep(address, { data: body, etag: response.headers.get("ETag"), at: Date.now(), problem: null });
    } else if (response.status >= 500) {
      this.failed(address, known, body);
    } else {
      this.keep(address, { data: null, at: Date.now(), problem: body });
    }
    return true;
  }

  keep(address, answer) {
    this.answers.delete(address);
    this.answers.set(address, answer);
  }

  /** Let go of the oldest answers that nobody asks for now. */
  forget(asked) {
    for (const address of [...this.answers.keys()]) {
      if (this.answers.size <= KEPT) {
        return;
      }
      if (!asked.has(address)) {
        this.answers.delete(address);
      }
    }
  }
}
