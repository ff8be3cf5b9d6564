using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Sagas.Participants;
using Sagas.Runtime;

namespace Sagas.Benchmarks;

/// <summary>Drives book-trip in a closed loop: each lane starts a saga, waits for its end, and starts the next.</summary>
internal static class BookTrip
{
    public static async Task<int> RunAsync(Options options)
    {
        var path = Path.Combine(options.Path ?? Path.GetTempPath(), $"sagas-bench-{Environment.ProcessId}");
        Directory.CreateDirectory(path);
        var redis = options is { Store: "redis", Redis: null } ? await PrivateRedis.StartAsync(path, options.Fsync) : null;
        if (redis is not null) options = options with { Redis = redis.Address };
        PrivateRabbit? rabbit = null;
        try
        {
            rabbit = options is { Bus: "rabbitmq", RabbitMq: null } ? await PrivateRabbit.StartAsync(path) : null;
            if (rabbit is not null) options = options with { RabbitMq = rabbit.Url };
            Console.WriteLine(options.Participants == "http" ? await OverHttpAsync(options, path) : await OverBusAsync(options, path, redis, rabbit));
            return 0;
        }
        finally
        {
            if (rabbit is not null) await rabbit.DisposeAsync();
            if (redis is not null) await redis.DisposeAsync();
            Directory.Delete(path, recursive: true);
        }
    }

    private static async Task<string> OverBusAsync(Options options, string path, PrivateRedis? redis, PrivateRabbit? rabbit)
    {
        using var host = Build(options, path);
        await host.StartAsync();
        var (engine, wanted) = (host.Services.GetRequiredService<SagaEngine>(), options.Mode == "ok" ? SagaStatus.Completed : SagaStatus.Compensated);
        var line = await MeasureAsync(options, async () =>
        {
            var start = await engine.StartAsync(new StartRequest($"book-trip-{options.Shape}", Payload.From(new Trip("Ada Lovelace"))));
            var ended = start.Outcome == StartOutcome.Started ? await engine.WaitAsync(start.Saga!.Id, TimeSpan.FromSeconds(60)) : null;
            return ended?.Status == wanted;
        }, () => (redis?.Cpu ?? TimeSpan.Zero) + (rabbit?.Cpu ?? TimeSpan.Zero));
        await host.StopAsync();
        return line;
    }

    private static async Task<string> OverHttpAsync(Options options, string path)
    {
        await using var trip = await HttpTrip.OpenAsync(options, path);
        var line = await MeasureAsync(options, trip.RunOneAsync, () => trip.ParticipantCpu);
        return $"{line}\n{JsonSerializer.Serialize(await trip.CallsAsync())}";
    }

    private static IHost Build(Options options, string path)
    {
        var builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders();
        var refuse = options.Mode == "refuse";
        builder.Services.AddSagas(s =>
        {
            s.AddSaga(options.Shape == "parallel" ? new ParallelTrip(refuse) : new SequentialTrip(refuse));
            options.UseBus(s);
            options.UseStore(s, path);
        });
        builder.Services.AddSagaParticipants(p =>
        {
            p.Add<Flights>("flights").Add<Hotels>("hotels").Add<Cars>("cars");
            if (options.Barrier == "file") p.UseFileBarrier(Path.Combine(path, "barrier"));
        });
        return builder.Build();
    }

    private static async Task<string> MeasureAsync(Options options, Func<Task<bool>> runOne, Func<TimeSpan>? otherCpu = null)
    {
        bool stop = false, measuring = false;
        long done = 0, bad = 0;
        var lanes = Enumerable.Range(0, options.InFlight).Select(lane => Task.Run(async () =>
        {
            var latencies = new List<double>(1 << 14);
            for (var n = 0; !Volatile.Read(ref stop); n++)
            {
                var from = Stopwatch.GetTimestamp();
                if (!await runOne()) Interlocked.Increment(ref bad);
                else if (Volatile.Read(ref measuring))
                {
                    Interlocked.Increment(ref done);
                    latencies.Add(Stopwatch.GetElapsedTime(from).TotalMilliseconds);
                }
            }
            return latencies;
        })).ToArray();

        await Task.Delay(TimeSpan.FromSeconds(options.Warmup));
        using var counts = new Counts();
        var process = Process.GetCurrentProcess();
        var cpu = process.TotalProcessorTime;
        var other = otherCpu?.Invoke() ?? TimeSpan.Zero;
        var allocated = GC.GetTotalAllocatedBytes();
        var clock = Stopwatch.StartNew();
        Volatile.Write(ref measuring, true);
        await Task.Delay(TimeSpan.FromSeconds(options.Seconds));
        Volatile.Write(ref measuring, false);
        var seconds = clock.Elapsed.TotalSeconds;
        process.Refresh();
        var cpuSeconds = (process.TotalProcessorTime - cpu).TotalSeconds;
        var otherSeconds = ((otherCpu?.Invoke() ?? TimeSpan.Zero) - other).TotalSeconds;
        var kilobytes = (GC.GetTotalAllocatedBytes() - allocated) / 1024.0;
        var peak = process.PeakWorkingSet64;
        var seen = counts.Read();
        var sagas = Interlocked.Read(ref done);
        Volatile.Write(ref stop, true);
        var all = (await Task.WhenAll(lanes)).SelectMany(l => l).Order().ToArray();
        double Quantile(double q) => all.Length == 0 ? -1 : Math.Round(all[Math.Min(all.Length - 1, (int)(all.Length * q))], 3);
        double Per(string counter) => Math.Round(seen.GetValueOrDefault(counter) / (double)sagas, 3);
        return JsonSerializer.Serialize(new
        {
            benchmark = "book-trip", participants = options.Participants, store = options.Store, bus = options.Bus, barrier = options.Barrier, shape = options.Shape, mode = options.Mode,
            inflight = options.InFlight, seconds = Math.Round(seconds, 2), sagas, unexpected = bad,
            sagasPerSecond = Math.Round(sagas / seconds, 1), p50Ms = Quantile(0.5), p99Ms = Quantile(0.99),
            otherCpuSecondsPer1000 = Math.Round(otherSeconds / sagas * 1000, 4),
            cpuSecondsPer1000 = Math.Round(cpuSeconds / sagas * 1000, 4),
            commitsPerSaga = Per("sagas.commits"), storeWritesPerSaga = Per("sagas.store.writes"),
            busMessagesPerSaga = Math.Round((seen.GetValueOrDefault("sagas.envelopes") + seen.GetValueOrDefault("sagas.replies.envelopes")) / (double)sagas, 3),
            allocatedKbPerSaga = Math.Round(kilobytes / sagas, 1), peakRssMb = peak >> 20,
        });
    }

    /// <summary>Sums the engine's counters from the moment it is made.</summary>
    private sealed class Counts : IDisposable
    {
        private readonly MeterListener _listener = new();
        private readonly Dictionary<string, long> _sums = [];

        public Counts()
        {
            _listener.InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == "Sagas" && instrument is Counter<long>) listener.EnableMeasurementEvents(instrument);
            };
            _listener.SetMeasurementEventCallback<long>((instrument, value, _, _) =>
            {
                lock (_sums) _sums[instrument.Name] = _sums.GetValueOrDefault(instrument.Name) + value;
            });
            _listener.Start();
        }

        public Dictionary<string, long> Read()
        {
            lock (_sums) return new Dictionary<string, long>(_sums);
        }

        public void Dispose() => _listener.Dispose();
    }
}
