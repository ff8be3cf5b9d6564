using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Shouldly;
using Trip;
using Xunit;

namespace Sagas.Tests.Examples;

/// <summary>Kills the example's program by SIGKILL in full traffic, again and again, and holds the promises against what is then on disk. SAGAS_KILLS and SAGAS_SEED set the run.</summary>
public sealed class TripKillTests(ITestOutputHelper output)
{
    private const int Traffic = 200, Clients = 4;
    private readonly ConcurrentDictionary<string, TripRequest> _acknowledged = new();
    private readonly ConcurrentDictionary<string, TripRequest> _unanswered = new();
    private readonly CancellationToken _cancel = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Nothing_acknowledged_is_lost_or_left_half_done_by_kill_9()
    {
        var kills = Number("SAGAS_KILLS") ?? 3;
        var seed = Number("SAGAS_SEED") ?? Random.Shared.Next();
        output.WriteLine($"{kills} kills, seed {seed}: SAGAS_SEED={seed} repeats the trips and the moments of the kills, as far as the machine does.");
        var random = new Random(seed);
        var data = Directory.CreateTempSubdirectory("trip-kill-").FullName;
        try
        {
            for (var life = 1; life <= kills; life++)
            {
                await using var trip = await StartAsync(data, Traffic);
                await LiveAsync(trip, life, killAfter: random.Next(300), new Random(random.Next()));
            }
            await using (var trip = await StartAsync(data, traffic: 0))
            {
                foreach (var (id, request) in _unanswered) await PostAsync(trip.Http, id, request);
                _unanswered.ShouldBeEmpty();
                await AllEndAsync(trip.Http);
                foreach (var id in _acknowledged.Keys) await CheckHistoryAsync(trip.Http, id);
                Check(await trip.Http.GetFromJsonAsync<Audit>("/audit", _cancel));
                (await trip.StopAsync()).ShouldBe(0, trip.Output);
            }
            var (code, printed) = await RunningProgram.RunAsync("Trip.dll", "--audit", "--data", data);
            code.ShouldBe(0, printed);
            Check(JsonSerializer.Deserialize<Audit>(printed, JsonSerializerOptions.Web));
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }

    /// <summary>Clients start trips until so many are acknowledged; then the process is killed, whatever it is doing.</summary>
    private async Task LiveAsync(RunningProgram trip, int life, int killAfter, Random random)
    {
        using var alive = CancellationTokenSource.CreateLinkedTokenSource(_cancel);
        var enough = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var acknowledged = 0;
        // A start whose answer the last kill cut off is repeated: whether it was heard or not, there is to be one saga.
        var repeats = new ConcurrentQueue<KeyValuePair<string, TripRequest>>(_unanswered);
        var number = 0;
        var clients = Enumerable.Range(0, Clients).Select(_ => new Random(random.Next())).Select(own => Task.Run(async () =>
        {
            while (!alive.IsCancellationRequested)
            {
                var (id, request) = repeats.TryDequeue(out var again) ? again : new($"k{life}-{Interlocked.Increment(ref number)}", Demo.Any(own));
                if (!await PostAsync(trip.Http, id, request)) return;
                if (Interlocked.Increment(ref acknowledged) >= killAfter) enough.TrySetResult();
            }
        }, _cancel)).ToArray();

        try
        {
            (await Task.WhenAny(enough.Task, Task.WhenAll(clients)).WaitAsync(TimeSpan.FromSeconds(40), _cancel)).ShouldBe(enough.Task, trip.Output);
        }
        catch (TimeoutException)
        {
            // The machine is busy: then the kill comes after fewer of them.
            acknowledged.ShouldBeGreaterThan(0, trip.Output);
        }
        await trip.KillAsync();
        await alive.CancelAsync();
        await Task.WhenAll(clients);
        output.WriteLine($"life {life}: killed after {acknowledged} acknowledged starts, {_unanswered.Count} unanswered. {trip.Output.Split('\n').LastOrDefault(line => line.StartsWith("started", StringComparison.Ordinal))?.Trim()}");
    }

    /// <summary>False: the line was cut, and whether the saga was started is unknown.</summary>
    private async Task<bool> PostAsync(HttpClient http, string id, TripRequest request)
    {
        _unanswered[id] = request;
        try
        {
            using var answer = await http.PostAsJsonAsync($"/api/v1/definitions/book-trip/sagas?id={id}", request, _cancel);
            if (answer.StatusCode is HttpStatusCode.Accepted or HttpStatusCode.OK) _acknowledged[id] = request;
            else answer.StatusCode.ShouldBeOneOf(HttpStatusCode.TooManyRequests, HttpStatusCode.ServiceUnavailable);
            if (answer.StatusCode != HttpStatusCode.ServiceUnavailable) _unanswered.TryRemove(id, out _);
            return true;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    private async Task AllEndAsync(HttpClient http)
    {
        foreach (var id in _acknowledged.Keys) await EndsAsync(id);
        foreach (var status in new[] { "Running", "Confirming", "Compensating", "Stuck" })
            while (await http.GetFromJsonAsync<JsonElement>($"/api/v1/sagas?status={status}&limit=1", _cancel) is var page && page.GetProperty("items").GetArrayLength() > 0)
                await EndsAsync(page.GetProperty("items")[0].GetProperty("id").GetString()!);

        async Task EndsAsync(string id)
        {
            for (var attempt = 1; ; attempt++)
            {
                using var answer = await http.GetAsync($"/api/v1/sagas/{id}?wait=30", _cancel);
                answer.StatusCode.ShouldBe(HttpStatusCode.OK, $"{id} was acknowledged.");
                var saga = await answer.Content.ReadFromJsonAsync<JsonElement>(_cancel);
                if (saga.GetProperty("status").GetString() is "Completed" or "Compensated") return;
                attempt.ShouldBeLessThan(4, saga.GetRawText());
            }
        }
    }

    /// <summary>The engine's own account: nothing is confirmed before the commit point, that comes after every success, and undoing goes backward.</summary>
    private async Task CheckHistoryAsync(HttpClient http, string id)
    {
        var page = await http.GetFromJsonAsync<JsonElement>($"/api/v1/sagas/{id}/history?limit=500", _cancel);
        var history = page.GetProperty("items").EnumerateArray()
            .Select(e => string.Join(' ', new[] { "event", "step", "phase", "outcome" }.Select(name => e.GetProperty(name).GetString()).Where(word => word is not null))).ToList();
        var told = $"{id}:\n{string.Join('\n', history)}";
        var committed = history.FindIndex(e => e.StartsWith("committed", StringComparison.Ordinal));
        history.Count(e => e is "completed" or "compensated").ShouldBe(1, told);
        (history[^1] is "completed" or "compensated").ShouldBeTrue(told);
        if (history[^1] == "completed")
        {
            foreach (var success in new[] { "replied reserve-seat try ok", "replied reserve-room try ok", "replied hold-money do ok", "replied capture do ok" })
                history.IndexOf(success).ShouldBeInRange(0, committed, told);
            foreach (var later in new[] { "sent reserve-seat confirm", "sent reserve-room confirm", "sent send-ticket do" })
                history.IndexOf(later).ShouldBeGreaterThan(committed, told);
            history.ShouldNotContain(e => e.EndsWith(" cancel", StringComparison.Ordinal) || e.EndsWith(" compensate", StringComparison.Ordinal), told);
        }
        else
        {
            committed.ShouldBe(-1, told);
            history.ShouldNotContain(e => e.EndsWith(" confirm", StringComparison.Ordinal), told);
            var cancel = history.FindIndex(e => e.EndsWith(" cancel", StringComparison.Ordinal));
            if (history.Contains("sent hold-money compensate") && cancel >= 0)
                history.IndexOf("replied hold-money compensate ok").ShouldBeInRange(0, cancel, told);
        }
    }

    private void Check(Audit? audit)
    {
        audit.ShouldNotBeNull();
        audit.Faults.ShouldBeEmpty();
        output.WriteLine($"{_acknowledged.Count} starts acknowledged to clients. {string.Join(", ", audit.Trips.Select(t => $"{t.Value} {t.Key}"))}; seats {audit.Stock["seats"]}");
        audit.Trips.Keys.ShouldBeSubsetOf(["Completed", "Compensated"]);
        audit.Trips.Values.Sum().ShouldBeGreaterThanOrEqualTo(_acknowledged.Count);
        audit.Stock.Values.ShouldAllBe(count => count.Held == 0);
        audit.Stock["tickets"].Kept.ShouldBe(audit.Trips["Completed"]);
        audit.Stock["money"].AmountKept.ShouldBe(audit.Stock["seats"].AmountKept + audit.Stock["rooms"].AmountKept);
    }

    private static Task<RunningProgram> StartAsync(string data, int traffic) =>
        RunningProgram.StartAsync("Trip.dll", "Trip books trips at ", "--data", data, "--urls", "http://127.0.0.1:0", "--traffic", traffic.ToString(CultureInfo.InvariantCulture));

    private static int? Number(string variable) => int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out var number) ? number : null;
}
