/** Checks what a session tells its subscribers: every call and every launch begins and ends once. */
import type { SessionEvent } from '../../src/events/sessionEvent.js';
import type { Session } from '../../src/session/session.js';
import type { World } from './world.js';

export class SessionWatcher {
  readonly #calls = new Map<bigint, string>();
  #state: string;
  /** When it came into its state, milliseconds. */
  stateSince: number;
  #launches = 0;
  #quits = 0;
  #closed = 0;

  constructor(
    private readonly world: World,
    readonly session: Session,
  ) {
    this.#state = session.state;
    this.stateSince = world.time.now;
    const { events } = session;
    const emit = events.emit.bind(events);
    // Not a subscription: those lose events when there are many.
    events.emit = (event) => {
      this.#take(event);
      emit(event);
    };
  }

  /** Notes its state. */
  look(): void {
    const { state } = this.session;
    if (state === this.#state) return;
    this.#state = state;
    this.stateSince = this.world.time.now;
  }

  #take(event: SessionEvent): void {
    switch (event.kind) {
      case 'queued':
      case 'started':
      case 'finished': {
        const { number, action, errorReason } = event.call;
        const before = this.#calls.get(number);
        const valid =
          event.kind === 'queued'
            ? before === undefined
            : before === 'queued' || (event.kind === 'finished' && before === 'started');
        if (!valid)
          this.world.violate(
            `call ${number} (${action}) of ${this.session.id} is ${event.kind} after ${before ?? 'nothing'}`,
          );
        this.#calls.set(number, event.kind);
        this.world.note(`${this.session.id} call ${number} ${action} ${event.kind} ${errorReason}`);
        break;
      }
      case 'progress':
        if (event.progress.action !== 'launch' || event.progress.position !== 0n) break;
        this.#launches += 1;
        this.stateSince = this.world.time.now;
        break;
      case 'subprocess_quit':
        this.#quits += 1;
        this.world.note(`${this.session.id} subprocess_quit`);
        break;
      case 'close':
        this.#closed += 1;
        break;
      default:
        this.world.note(`${this.session.id} ${event.kind}`);
    }
  }

  /** The session has ended. */
  checkEnd(): void {
    const { id, state, pendingCalls, resources } = this.session;
    const wrong = (what: string): void => this.world.violate(`${id} has ended, but ${what}`);
    for (const [number, last] of this.#calls) if (last !== 'finished') wrong(`call ${number} is only ${last}`);
    if (this.#launches !== this.#quits) wrong(`of ${this.#launches} launches, ${this.#quits} have ended`);
    if (this.#closed !== 1) wrong(`said so ${this.#closed} times`);
    if (state !== 'CLOSED') wrong(`its state is ${state}`);
    if (pendingCalls !== 0) wrong(`${pendingCalls} calls have turns`);
    if (resources !== undefined) wrong('it uses resources');
  }
}
