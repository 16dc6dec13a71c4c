/** What the steps of the tour use: calls that are printed as they are made. */
import {
  rpcName,
  type GuestfsClient,
  type ServerStreamMethod,
  type Session,
  type UnaryMethod,
} from '../clients/typescript/src/index.js';
import type { EventTicker } from './eventTicker.js';
import type { Narrator } from './narrator.js';
import type { LocalServer } from './server/localServer.js';
import type { Workspace } from './server/workspace.js';
import { seconds } from './terminal/format.js';

const TIME_WIDTH = 7;

type Note<Response> = string | ((response: Response) => string);

/** Several small calls, printed as one line per RPC. */
export type QuietCall = <Request, Response>(
  method: UnaryMethod<Request, Response>,
  request: Request,
) => Promise<Response>;

/** The session of the tour. */
export interface TourSession {
  readonly session: Session;
  readonly events: EventTicker;
  /** Resolves when the events have ended. */
  readonly eventsEnded: Promise<void>;
}

export class Guide {
  /** Set by the step that creates the session. */
  current: TourSession | undefined;

  constructor(
    readonly out: Narrator,
    readonly server: LocalServer,
    readonly workspace: Workspace,
    readonly client: GuestfsClient,
  ) {}

  get session(): Session {
    if (this.current === undefined) throw new Error('there is no session yet');
    return this.current.session;
  }

  /** Makes a call in the session and prints it. */
  async call<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    note: Note<Response> = '',
  ): Promise<Response> {
    return this.tell(method, () => this.session.call(method, request), note);
  }

  /** All messages of a stream. */
  async collect<Request, Response>(
    method: ServerStreamMethod<Request, Response>,
    request: Request,
    note: Note<readonly Response[]>,
  ): Promise<readonly Response[]> {
    return this.tell(
      method,
      async () => {
        const messages: Response[] = [];
        for await (const message of this.session.stream(method, request)) messages.push(message);
        return messages;
      },
      note,
    );
  }

  /**
   * Times anything that is one call, and prints it.
   * @param live what to show while it runs, besides the time
   */
  async tell<Response>(
    method: { readonly path: string },
    call: () => Promise<Response>,
    note: Note<Response> = '',
    live = () => rpcName(method),
  ): Promise<Response> {
    const startedAt = performance.now();
    const hide = this.out.screen.show(
      () => `${seconds(performance.now() - startedAt).padStart(TIME_WIDTH)}  ${live()}`,
    );
    try {
      const response = await call();
      hide();
      this.out.rpc(rpcName(method), performance.now() - startedAt, typeof note === 'string' ? note : note(response));
      return response;
    } finally {
      hide();
    }
  }

  /** Makes many small calls, printed together. */
  async together(body: (call: QuietCall) => Promise<void>, note: string): Promise<void> {
    const told = new Map<string, { count: number; ms: number }>();
    this.current?.events.mute(true);
    try {
      await body(async (method, request) => {
        const startedAt = performance.now();
        const response = await this.session.call(method, request);
        const sum = told.get(rpcName(method)) ?? { count: 0, ms: 0 };
        told.set(rpcName(method), { count: sum.count + 1, ms: sum.ms + performance.now() - startedAt });
        return response;
      });
    } finally {
      this.current?.events.mute(false);
    }
    for (const [index, [name, { count, ms }]] of [...told].entries())
      this.out.rpc(name, ms, index === 0 ? note : '', count);
  }
}
