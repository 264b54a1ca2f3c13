// Seconds of work: those in which the page is in view and there was input within the last minute.

const IDLE_MS = 60_000;
const TICK_MS = 1_000;

export class ActiveClock {
  constructor() {
    this.restart(0);
    const touched = () => {
      this.lastInput = performance.now();
    };
    for (const kind of ["keydown", "pointerdown", "pointermove", "wheel", "touchmove", "scroll", "input"]) {
      addEventListener(kind, touched, { capture: true, passive: true });
    }
    document.addEventListener("visibilitychange", () => this.tick());
    setInterval(() => this.tick(), TICK_MS);
  }

  restart(seconds) {
    this.ms = seconds * 1_000;
    this.last = this.lastInput = performance.now();
    this.wasVisible = !document.hidden;
  }

  // A machine that slept, or a tab that was throttled, adds a tick at most.
  tick() {
    const now = performance.now();
    if (this.wasVisible && now - this.lastInput < IDLE_MS) this.ms += Math.min(now - this.last, 2 * TICK_MS);
    this.last = now;
    this.wasVisible = !document.hidden;
  }

  get seconds() {
    this.tick();
    return Math.round(this.ms / 10) / 100;
  }
}
