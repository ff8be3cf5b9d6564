using System.Collections.Immutable;
using System.Diagnostics;
using System.Text.Json;
using Microsoft.AspNetCore.Connections;
using Sagas;
using Sagas.Runtime;

namespace Trip;

/// <summary>What an example needs and your service does not: a banner, traffic, and an audit by hand.</summary>
public static class Demo
{
    private static readonly JsonSerializerOptions Indented = new(JsonSerializerOptions.Web) { WriteIndented = true };

    /// <summary>Runs until it is told to stop. Returns the exit code.</summary>
    public static async Task<int> RunAsync(WebApplication app, int tripsPerSecond)
    {
        try
        {
            await app.StartAsync();
        }
        catch (Exception e)
        {
            Console.Error.WriteLine(e.GetBaseException() is AddressInUseException || e.InnerException is AddressInUseException
                ? $"The address {app.Configuration["urls"] ?? "http://127.0.0.1:5080"} is taken. Give another: --urls http://127.0.0.1:5081"
                : $"Trip cannot start: {e.Message}");
            return 1;
        }
        Console.WriteLine(Banner(app.Urls.First(), Path.GetFullPath(app.Services.GetRequiredService<DataFolder>().Path)));
        if (tripsPerSecond > 0) await TrafficAsync(app, tripsPerSecond);
        await app.WaitForShutdownAsync();
        return 0;
    }

    /// <summary>The audit without a running server: opens the store, but no engine, so that nothing moves.</summary>
    public static async Task<int> AuditAsync(IServiceProvider services)
    {
        try
        {
            var store = services.GetRequiredService<ISagaStore>();
            await store.OpenAsync(CancellationToken.None);
            var audit = await Audit.TakeAsync(services.GetRequiredService<DataFolder>(), store);
            Console.WriteLine(JsonSerializer.Serialize(audit, Indented));
            return audit.Faults.Count == 0 ? 0 : 1;
        }
        catch (Exception e)
        {
            Console.Error.WriteLine($"{e.Message} While the example runs, ask it: GET /audit.");
            return 2;
        }
    }

    private static string Banner(string url, string data) => $$"""

        Trip books trips at {{url}}   (data in {{data}})

        One that completes:
          curl -X POST '{{url}}/api/v1/definitions/book-trip/sagas?id=trip-1&wait=10' -H 'Content-Type: application/json' -d '{"city":"Paris","flight":"LX8","day":"2030-06-01","card":"visa","email":"ann@example.org"}'
        One that is compensated (the card is frozen when seat, room and money are held already):
          curl -X POST '{{url}}/api/v1/definitions/book-trip/sagas?id=trip-2&wait=10' -H 'Content-Type: application/json' -d '{"city":"Paris","flight":"LX8","day":"2030-06-01","card":"frozen","email":"ann@example.org"}'

        Other endings:
          {{string.Join("\n  ", Magic.Words.Select(w => $"{w.Key,-14} {w.Value}"))}}

        Look:
          {{url}}/swagger                          every call
          {{url}}/api/v1/sagas/trip-2              the saga with its steps
          {{url}}/api/v1/sagas/trip-2/history      what happened
          {{url}}/api/v1/sagas?status=compensated  list
          {{url}}/audit                            does the stock add up?

        """;

    /// <summary>Starts trips at an even rate and says once a second how they stand.</summary>
    private static async Task TrafficAsync(WebApplication app, int perSecond)
    {
        var engine = app.Services.GetRequiredService<SagaEngine>();
        var stopping = app.Lifetime.ApplicationStopping;
        var clock = Stopwatch.StartNew();
        long begun = 0, refused = 0;
        var lastLine = TimeSpan.Zero;
        using var tick = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        try
        {
            while (await tick.WaitForNextTickAsync(stopping))
            {
                for (var due = (long)(clock.Elapsed.TotalSeconds * perSecond); begun < due; begun++) _ = StartAsync();
                if (clock.Elapsed - lastLine < TimeSpan.FromSeconds(1)) continue;
                lastLine = clock.Elapsed;
                var stats = await engine.StatsAsync(stopping);
                var by = stats.ByStatus;
                var line = $"started {by.Values.Sum()}  completed {Of(by, SagaStatus.Completed)}  compensated {Of(by, SagaStatus.Compensated)}  stuck {Of(by, SagaStatus.Stuck)}  " +
                    $"in flight {Of(by, SagaStatus.Running, SagaStatus.Confirming, SagaStatus.Compensating)}  p50 {stats.P50:0} ms  p99 {stats.P99:0} ms{(refused > 0 ? $"  too busy {refused}" : "")}";
                if (Console.IsOutputRedirected) Console.WriteLine(line);
                else Console.Write($"\r{line}   ");
            }
        }
        catch (OperationCanceledException)
        {
            Console.WriteLine();
        }

        async Task StartAsync()
        {
            try
            {
                var started = await engine.StartAsync("book-trip", Any(Random.Shared), cancel: stopping);
                if (started.Outcome == StartOutcome.Busy) Interlocked.Increment(ref refused);
            }
            catch (Exception e) when (e is OperationCanceledException or StoreUnavailableException)
            {
                Interlocked.Increment(ref refused);
            }
        }
    }

    private static long Of(ImmutableDictionary<SagaStatus, long> counts, params SagaStatus[] statuses) => statuses.Sum(s => counts.GetValueOrDefault(s));

    /// <summary>Some trip or other: three in four complete at once, the others take every other ending.</summary>
    public static TripRequest Any(Random random)
    {
        string city = "Paris", flight = $"LX{random.Next(1, 10)}", card = "visa";
        switch (random.Next(100))
        {
            case < 6: city = Magic.FullCity; break;
            case < 9: city = Magic.SlowCity; break;
            case < 15: city = Magic.FlakyCity; break;
            case < 16: city = Magic.StuckCity; break;
            case < 17: (city, card) = (Magic.StuckCity, Magic.FrozenCard); break;
            case < 18: flight = Magic.FullFlight; break;
            case < 21: card = Magic.ExpiredCard; break;
            case < 25: card = Magic.FrozenCard; break;
            default: city = random.Next(3) switch { 0 => "Paris", 1 => "Oslo", _ => "Lisbon" }; break;
        }
        return new TripRequest(city, flight, new DateOnly(2030, 1, 1).AddDays(random.Next(365)), card, $"guest{random.Next(1000)}@example.org");
    }
}
