/** The dashboard and the alerts on a real Prometheus, which scrapes a real server that does some work. */
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { eventually } from '../support/eventually.js';
import { itWhen } from '../support/itWhen.js';
import { alerts, dashboardQueries, RULES } from '../support/monitoring.js';
import { startOtlpReceiver, type OtlpReceiver, type ReceivedSpan } from '../support/otlpReceiver.js';
import { startPrometheus, withoutPrometheus, type Prometheus } from '../support/prometheus.js';
import { launchSession } from '../support/scene.js';
import { scratchDrive, TestClient, type SessionClient } from '../support/testClient.js';
import { CLEAN_END, logged, startTestServer, type TestServer } from '../support/testServer.js';

const missing = withoutPrometheus();

describe('the alert rules', () => {
  const name = 'are accepted by promtool';
  itWhen(name, missing)(name, () => {
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'rules', '--lint-fatal', RULES], {
      encoding: 'utf8',
    });
    expect([stdout + stderr, status]).toEqual([expect.stringContaining('SUCCESS'), 0]);
  });
});

describeWithAppliance('a server at work', () => {
  let collector: OtlpReceiver;
  let server: TestServer;
  let client: TestClient;
  let session: SessionClient;
  beforeAll(async () => {
    collector = await startOtlpReceiver();
    server = await startTestServer({
      flags: ['--metrics-listen', '127.0.0.1:0', '--pool', '1'],
      env: {
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
        OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
        OTEL_BSP_SCHEDULE_DELAY: '100',
      },
    });
    client = new TestClient(server.address);
    session = await launchSession(client, [scratchDrive(64 << 20)]);
  }, 180_000);
  afterAll(async () => {
    client.close();
    expect(await server.stop()).toEqual(CLEAN_END);
    await collector.close();
  }, 60_000);

  /** Calls of every kind: one that succeeds, one that fails, one that is refused, a file in each direction. */
  async function work(): Promise<void> {
    await session.call('list_devices');
    await session.failure('ls', { directory: '/none' });
    await session.failure('add_drive', { filename: '/x', protocol: 'nbd' });
    await session.upload('upload', { remotefilename: '/dev/sda' }, [Buffer.alloc(100_000)]);
    await session.download('download', { remotefilename: '/dev/sda' });
  }

  it('exports the steps of its launch as spans', async () => {
    const calls = (): readonly ReceivedSpan[] => collector.spans.filter(({ kind }) => kind === 'server');
    await eventually(() => calls().some(({ name }) => name.endsWith('/CreateSession')));
    const [create] = calls().filter(({ name }) => name.endsWith('/CreateSession'));
    const spans = collector.spans.filter(({ traceId }) => traceId === create?.traceId);
    const launch = spans.find(({ name }) => name === 'launch');
    const steps = spans.filter(({ parentSpanId }) => parentSpanId === launch?.spanId).map(({ name }) => name);
    expect(steps).toEqual(expect.arrayContaining(['preflight', 'drives', 'boot']));
    expect(spans.filter(({ failed }) => failed)).toEqual([]);
  });

  describe('and a Prometheus', () => {
    let prometheus: Prometheus | undefined;
    beforeAll(async () => {
      if (missing !== undefined) return;
      prometheus = await startPrometheus(String(logged(server, 'serving metrics').at(-1)?.['address']));
      // Rates need several samples, before and after the work.
      for (let second = 0; second < 4; second++) {
        await new Promise((resolve) => setTimeout(resolve, 1500));
        await work();
        const more = await launchSession(client, [scratchDrive(1 << 20)]);
        await client.deleteSession(more.id);
      }
      await new Promise((resolve) => setTimeout(resolve, 2500));
    }, 180_000);
    afterAll(() => prometheus?.stop());

    /** A query as Grafana makes it, with its variables' values. */
    const asked = (query: string): string => query.replaceAll('$instance', '.+').replaceAll('$__rate_interval', '1m');

    const every = 'every query of the dashboard has a result';
    itWhen(every, missing)(every, async () => {
      const empty: string[] = [];
      for (const query of dashboardQueries()) {
        const result = await prometheus?.query(asked(query));
        if (result?.length === 0) empty.push(query);
      }
      expect(empty).toEqual([]);
    });

    const evaluated = 'every alert is evaluated, and none fires';
    itWhen(evaluated, missing)(evaluated, async () => {
      const rules = (await prometheus?.rules()) ?? [];
      expect(rules.map(({ name }) => name)).toEqual(alerts().map(({ alert }) => alert));
      expect(rules.filter(({ health }) => health !== 'ok')).toEqual([]);
      expect(await prometheus?.query('ALERTS{alertstate="firing"}')).toEqual([]);
    });

    const figures = 'the figures of qemu are those of the machines';
    itWhen(figures, missing)(figures, async () => {
      const [ready] = (await prometheus?.query('guestfs_qemu_processes{state="READY"}')) ?? [];
      expect(Number(ready?.value[1])).toBeGreaterThanOrEqual(1);
      const [memory] = (await prometheus?.query('guestfs_qemu_largest_memory_bytes{state="READY"}')) ?? [];
      expect(Number(memory?.value[1])).toBeGreaterThan(50 << 20);
      const [cpu] = (await prometheus?.query('sum(guestfs_qemu_cpu_seconds_total)')) ?? [];
      expect(Number(cpu?.value[1])).toBeGreaterThan(0.1);
    });
  });
});
