using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Sagas.Tests;
using Sagas.Tests.MassTransit;
using Sagas.Tests.Redis;
using StackExchange.Redis;

namespace Sagas.UnderFire;

/// <summary>
/// Sets up everybody, has transfers started, does harm, makes peace, and judges. Three lanes of harm run side by side: to engine nodes, to servers and
/// connections, and to participants; messages suffer all the time.
/// </summary>
public sealed class Referee : IAsyncDisposable
{
    private const int Rate = 25, AtOnce = 128, Partitions = 16;
    private static readonly TimeSpan TakeoverLimit = TimeSpan.FromSeconds(10), Patience = TimeSpan.FromMinutes(1);
    private readonly string _folder = Directory.CreateTempSubdirectory("sagas-under-fire-").FullName;
    private readonly Random _random;
    private readonly Action<string> _print;
    private readonly Score _score = new();
    private readonly List<Proxy> _proxies = [];
    private readonly Dictionary<string, Member> _nodes = [], _participants = [];
    private readonly Dictionary<string, HttpClient> _http = [];
    private readonly ConcurrentDictionary<string, Order> _orders = new(), _unacknowledged = new();
    private readonly ConcurrentDictionary<string, string> _seenEnded = new();
    private readonly ConcurrentDictionary<string, JsonElement> _seenOpen = new();
    private readonly ConcurrentQueue<string> _wrongs = new();
    private readonly SemaphoreSlim _calm = new(1);
    private RedisServer _redis = null!;
    private RabbitServer _rabbit = null!;
    private ConnectionMultiplexer _look = null!;
    private Detour _detour = null!;
    private int _orderNumber, _cancelled;
    private volatile int _serverFaults;
    private TimeSpan _worstRecovery;

    private Referee(int seed, Action<string> print) => (_random, _print) = (new Random(seed), print);

    /// <summary>Runs it all. False: a promise was broken, or nothing was tested; what, is printed.</summary>
    /// <param name="time">How long there is harm; longer, at most twice as long and a minute, if some kind has not hit yet.</param>
    /// <param name="seed">Of orders and faults; which comes to which moment is the machine's affair.</param>
    /// <param name="keep">Whether books and logs are left behind when all is well; they are when it is not.</param>
    /// <param name="print">Takes a line.</param>
    /// <param name="cancel">Ends it early, without judgement.</param>
    public static async Task<bool> RunAsync(TimeSpan time, int seed, bool keep, Action<string> print, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(print);
        var isGood = false;
        await using var referee = new Referee(seed, print);
        try
        {
            await referee.SetUpAsync(seed, cancel);
            // Until everything has ended: who killed itself at the last moment is needed to end what it had begun.
            using var over = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            var supervision = referee.SuperviseAsync(over.Token);
            try
            {
                await referee.FireAsync(time, supervision, cancel);
                await referee.MakePeaceAsync(cancel);
            }
            finally
            {
                await over.CancelAsync();
                await supervision;
            }
            return isGood = await referee.JudgeAsync(cancel);
        }
        finally
        {
            if (isGood && !keep) Directory.Delete(referee._folder, recursive: true);
            else print($"Books and logs are in {referee._folder}");
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Task.WhenAll(_nodes.Values.Concat(_participants.Values).Select(member => member.DisposeAsync().AsTask()));
        if (_detour is not null) await _detour.DisposeAsync();
        _look?.Dispose();
        foreach (var proxy in _proxies) proxy.Dispose();
        foreach (var http in _http.Values) http.Dispose();
        if (_rabbit is not null) await _rabbit.DisposeAsync();
        if (_redis is not null) await _redis.DisposeAsync();
    }

    // ── Setting up ──────────────────────────────────────────────────────────────────────────────────────────────────────

    private async Task SetUpAsync(int seed, CancellationToken cancel)
    {
        var (redis, rabbit) = (RedisServer.StartAsync(), RabbitServer.StartAsync());
        (_redis, _rabbit) = (await redis, await rabbit);
        // Not through a proxy: who looks must not be cut off.
        _look = await ConnectionMultiplexer.ConnectAsync($"{_redis.Address},abortConnect=false,syncTimeout=2000");
        _detour = new Detour(_rabbit.Url, seed, _score);
        _detour.Start();
        var ports = Servers.FreePorts(Place.Nodes.Length);
        foreach (var (node, port) in Place.Nodes.Zip(ports))
        {
            var url = $"http://127.0.0.1:{port}";
            _http[node] = new HttpClient { BaseAddress = new Uri(url), Timeout = TimeSpan.FromSeconds(4) };
            _nodes[node] = new Member(node, "engine", node, _folder, url, Rabbit($"node {node}"), Redis($"node {node}"));
        }
        foreach (var name in Place.Participants)
            _participants[name] = new Member(name, "participant", name, _folder, Rabbit(name), name == "payee" ? Redis(name) : "-");
        await Task.WhenAll(_nodes.Values.Concat(_participants.Values).Select(member => member.StartAsync(cancel)));
        if (!await CanaryAsync(cancel)) throw new InvalidOperationException("Nothing works, and nobody has done any harm yet.");

        string Rabbit(string who) => $"amqp://127.0.0.1:{Between(who, "RabbitMQ", _rabbit.Port)}";
        string Redis(string who) => $"127.0.0.1:{Between(who, "Redis", _redis.Port)}";
        int Between(string who, string server, int port)
        {
            _proxies.Add(new Proxy($"{who} and {server}", port));
            return _proxies[^1].Port;
        }
    }

    // ── Orders ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    private (string Id, Order Order) NextOrder()
    {
        var id = $"t{Interlocked.Increment(ref _orderNumber)}";
        Order order;
        lock (_random)
        {
            var to = _random.Next(12) == 0 ? Place.Closed : $"b{_random.Next(Place.Accounts)}";
            order = new Order($"a{_random.Next(Place.Accounts)}", to, _random.Next(1, 30));
        }
        _orders[id] = _unacknowledged[id] = order;
        return (id, order);
    }

    private string AnyNode()
    {
        lock (_random) return Place.Nodes[_random.Next(Place.Nodes.Length)];
    }

    /// <summary>Asks one node after another until one acknowledges; whether another has heard of it before nobody knows. No harm lasts as long as that.</summary>
    private async Task AcknowledgeAsync(string id, Order order, CancellationToken cancel)
    {
        for (var began = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(began) < 2 * Patience;)
        {
            try
            {
                using var answer = await _http[AnyNode()].PostAsJsonAsync($"/api/v1/definitions/transfer/sagas?id={id}", order, cancel);
                if (answer.StatusCode is HttpStatusCode.Accepted or HttpStatusCode.OK)
                {
                    _unacknowledged.TryRemove(id, out _);
                    return;
                }
                if (answer.StatusCode is not (HttpStatusCode.ServiceUnavailable or HttpStatusCode.TooManyRequests))
                    Wrong($"the start of {id} was answered with {(int)answer.StatusCode}: {await answer.Content.ReadAsStringAsync(cancel)}");
            }
            catch (Exception e) when (IsNetwork(e, cancel))
            {
            }
            await Task.Delay(300, cancel);
        }
        Wrong($"no node has acknowledged the start of {id} within {2 * Patience.TotalSeconds} s");
    }

    private async Task OrderAsync(CancellationToken cancel)
    {
        var (id, order) = NextOrder();
        double fate, patience;
        lock (_random) (fate, patience) = (_random.NextDouble(), _random.NextDouble());
        await AcknowledgeAsync(id, order, cancel);
        if (fate < 0.2) await MeddleAsync(id, fate, patience, cancel);
        // As many as a slow machine can carry: one that starts more than end drowns in repeats.
        while (!await IsEndedAsync(id, cancel))
        {
        }
    }

    /// <summary>Asks for a cancel, or looks, after a while.</summary>
    private async Task MeddleAsync(string id, double fate, double patience, CancellationToken cancel)
    {
        await Task.Delay(TimeSpan.FromSeconds(3 * patience * patience), cancel);
        try
        {
            if (fate < 0.1)
            {
                using var answer = await _http[AnyNode()].PostAsJsonAsync($"/api/v1/sagas/{id}/cancel", new { reason = "changed my mind" }, cancel);
                if (answer.StatusCode == HttpStatusCode.Accepted) Interlocked.Increment(ref _cancelled);
            }
            else
            {
                var saga = await _http[AnyNode()].GetFromJsonAsync<JsonElement>($"/api/v1/sagas/{id}", cancel);
                if (saga.GetProperty("finishedAt").ValueKind != JsonValueKind.Null) _seenEnded[id] = saga.GetRawText();
                else _seenOpen[id] = saga;
            }
        }
        catch (Exception e) when (IsNetwork(e, cancel))
        {
        }
    }

    /// <summary>A transfer that begins and ends: everybody is there. False: not within the time.</summary>
    private async Task<bool> CanaryAsync(CancellationToken cancel)
    {
        var began = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(began) < Patience)
        {
            var (id, order) = NextOrder();
            await AcknowledgeAsync(id, order, cancel);
            for (var waiting = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(waiting) < TimeSpan.FromSeconds(10);)
            {
                if (await IsEndedAsync(id, cancel)) return true;
            }
        }
        return false;
    }

    /// <summary>Whether it has ended, or does so within two seconds.</summary>
    private async Task<bool> IsEndedAsync(string id, CancellationToken cancel)
    {
        try
        {
            var saga = await _http[AnyNode()].GetFromJsonAsync<JsonElement>($"/api/v1/sagas/{id}?wait=2", cancel);
            return saga.GetProperty("finishedAt").ValueKind != JsonValueKind.Null;
        }
        catch (Exception e) when (IsNetwork(e, cancel))
        {
            await Task.Delay(200, cancel);
            return false;
        }
    }

    private static bool IsNetwork(Exception e, CancellationToken cancel) => e is HttpRequestException or IOException || (e is OperationCanceledException && !cancel.IsCancellationRequested);

    private void Wrong(string what)
    {
        Note($"WRONG {what}");
        _wrongs.Enqueue(what);
    }

    /// <summary>What was done when, to be read beside the processes' logs.</summary>
    private void Note(string what)
    {
        lock (_random) File.AppendAllText(Path.Combine(_folder, "referee.log"), $"{DateTime.UtcNow:HH:mm:ss.fff} {what}\n");
    }

    // ── Harm ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    private async Task FireAsync(TimeSpan time, Task supervision, CancellationToken cancel)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var began = Stopwatch.GetTimestamp();
        Task[] lanes = [LaneAsync(NodeHarm()), LaneAsync(ServerHarm()), LaneAsync(ParticipantHarm()), StartOrdersAsync(stop.Token)];
        var told = TimeSpan.Zero;
        while (true)
        {
            await Task.WhenAny([Task.Delay(1000, cancel), supervision, .. lanes]);
            cancel.ThrowIfCancellationRequested();
            var elapsed = Stopwatch.GetElapsedTime(began);
            TakeTallies();
            if (elapsed - told > TimeSpan.FromSeconds(15))
            {
                told = elapsed;
                _print(string.Create(CultureInfo.InvariantCulture,
                    $"{elapsed.TotalSeconds,4:0} s  {_orderNumber} transfers, {_unacknowledged.Count} not acknowledged yet; {string.Join(", ", Enum.GetValues<Fault>().Where(fault => _score[fault] > 0 && fault < Fault.MessageDoubled).Select(fault => $"{_score[fault]} {fault}"))}"));
            }
            if (lanes.Append(supervision).FirstOrDefault(static task => task.IsFaulted) is { } broken) await broken;
            if (elapsed >= time && (Missing().Length == 0 || elapsed >= 2 * time + TimeSpan.FromMinutes(1))) break;
        }
        await stop.CancelAsync();
        await Task.WhenAll(lanes);
        _print(string.Create(CultureInfo.InvariantCulture, $"{Stopwatch.GetElapsedTime(began).TotalSeconds,4:0} s  peace"));

        async Task LaneAsync(IEnumerable<Func<CancellationToken, Task>> harms)
        {
            // What is begun is finished: a node that was stopped is continued.
            foreach (var harm in harms)
            {
                if (stop.IsCancellationRequested) return;
                await harm(cancel);
            }
        }
    }

    private Fault[] Missing() => [.. Enum.GetValues<Fault>().Where(fault => _score[fault] == 0)];

    private async Task StartOrdersAsync(CancellationToken cancel)
    {
        using var places = new SemaphoreSlim(AtOnce);
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1.0 / Rate));
        var open = new ConcurrentDictionary<Task, bool>();
        try
        {
            while (await timer.WaitForNextTickAsync(cancel))
            {
                await places.WaitAsync(cancel);
                var order = OrderAsync(cancel).ContinueWith(_ => places.Release(), TaskScheduler.Default);
                open[order] = true;
                _ = order.ContinueWith(done => open.TryRemove(done, out _), TaskScheduler.Default);
            }
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            await Task.WhenAll(open.Keys);
        }
    }

    private IEnumerable<Func<CancellationToken, Task>> NodeHarm()
    {
        yield return cancel => KillNodeAsync(undisturbed: true, cancel);
        yield return StopNodeAsync;
        while (true)
        {
            yield return Next(4) switch
            {
                0 => StopNodeAsync,
                1 => cancel => KillNodeAsync(undisturbed: true, cancel),
                2 => cancel => KillNodeAsync(undisturbed: false, cancel),
                _ => KillNodeBrieflyAsync,
            };
        }
    }

    private async Task KillNodeAsync(bool undisturbed, CancellationToken cancel)
    {
        if (undisturbed) await _calm.WaitAsync(cancel);
        try
        {
            var node = _nodes[AnyNode()];
            await OwnsAsync(node.Name, cancel);
            var faults = _serverFaults;
            var killedAt = Stopwatch.GetTimestamp();
            Note($"node {node.Name} is killed");
            await node.KillAsync();
            var takeovers = await TakenOverAsync(node.Name, killedAt, cancel);
            Note($"node {node.Name}: {takeovers.Count} sagas taken over in {Worst(takeovers)}");
            if (takeovers.Count > 0) _score.Hit(Fault.EngineKilled);
            foreach (var takeover in takeovers) (undisturbed && faults == _serverFaults ? _score.Takeovers : _score.HinderedTakeovers).Add(takeover);
            await node.StartAsync(cancel);
        }
        finally
        {
            if (undisturbed) _calm.Release();
        }
        await SettleAsync(cancel);
    }

    /// <summary>It is back before its lease is over, under its name.</summary>
    private async Task KillNodeBrieflyAsync(CancellationToken cancel)
    {
        var node = _nodes[AnyNode()];
        await OwnsAsync(node.Name, cancel);
        Note($"node {node.Name} is killed and comes back at once");
        await node.KillAsync();
        _score.Hit(Fault.EngineKilled);
        await node.StartAsync(cancel);
        await SettleAsync(cancel);
    }

    private async Task StopNodeAsync(CancellationToken cancel)
    {
        var node = _nodes[AnyNode()];
        await OwnsAsync(node.Name, cancel);
        var stoppedAt = Stopwatch.GetTimestamp();
        Note($"node {node.Name} is stopped");
        node.Signal("STOP");
        IReadOnlyList<TimeSpan> takeovers;
        try
        {
            takeovers = await TakenOverAsync(node.Name, stoppedAt, cancel);
        }
        finally
        {
            node.Signal("CONT");
        }
        Note($"node {node.Name} goes on; {takeovers.Count} sagas taken over in {Worst(takeovers)}");
        if (takeovers.Count > 0) _score.Hit(Fault.EngineStopped);
        foreach (var takeover in takeovers) _score.HinderedTakeovers.Add(takeover);
        await SettleAsync(cancel);
    }

    private Task SettleAsync(CancellationToken cancel) => Task.Delay(Next(1000, 5000), cancel);

    /// <summary>Returns when the node owns some sagas, for else its end is nobody's loss.</summary>
    private async Task OwnsAsync(string node, CancellationToken cancel)
    {
        for (var i = 0; i < 100 && (await OwnedAsync(node)).Count < 5; i++) await Task.Delay(50, cancel);
    }

    private async Task<List<string>> OwnedAsync(string node)
    {
        try
        {
            var sets = await Task.WhenAll(Enumerable.Range(0, Partitions).Select(async p =>
                (await _look.GetDatabase().SetMembersAsync($"{{sagas:{p}}}:owned:{node}")).Select(id => $"{{sagas:{p}}}:saga:{id}")));
            return [.. sets.SelectMany(static set => set)];
        }
        catch (Exception e) when (e is RedisException or TimeoutException)
        {
            return [];
        }
    }

    /// <summary>How long it takes until each saga of a node that does nothing any more has been committed by another.</summary>
    private async Task<IReadOnlyList<TimeSpan>> TakenOverAsync(string node, long since, CancellationToken cancel)
    {
        var takeovers = new List<TimeSpan>();
        var versions = new Dictionary<string, RedisValue>();
        foreach (var key in await OwnedAsync(node)) versions[key] = RedisValue.Null;
        while (versions.Count > 0 && Stopwatch.GetElapsedTime(since) < TimeSpan.FromSeconds(60))
        {
            try
            {
                foreach (var (key, fields) in await Task.WhenAll(versions.Keys.Select(async key => (key, await _look.GetDatabase().HashGetAsync(key, ["v", "o"])))))
                {
                    // Its own last commit may have been on its way, and may have ended the saga.
                    if (versions[key].IsNull && fields[1].IsNull) versions.Remove(key);
                    else if (versions[key].IsNull || fields[1] == node) versions[key] = fields[0];
                    else if (fields[0] != versions[key])
                    {
                        takeovers.Add(Stopwatch.GetElapsedTime(since));
                        versions.Remove(key);
                    }
                }
            }
            catch (Exception e) when (e is RedisException or TimeoutException)
            {
                // Redis is away, on our own orders.
            }
            await Task.Delay(100, cancel);
        }
        foreach (var (key, version) in versions)
        {
            Wrong($"{key} was not taken over from node {node} within a minute: it is still at version {version}");
            if (_wrongs.Count < 10) await DumpAsync(key[(key.LastIndexOf(':') + 1)..], cancel);
        }
        return takeovers;
    }

    private IEnumerable<Func<CancellationToken, Task>> ServerHarm()
    {
        Func<CancellationToken, Task>[] all =
        [
            cancel => CutAsync(Fault.RedisAnswersCut, "node", "Redis", cancel), KillRedisAsync, KillRabbitAsync, cancel => CutAsync(Fault.RabbitAnswersCut, "", "RabbitMQ", cancel),
            cancel => CutAsync(Fault.RabbitRequestsCut, "", "RabbitMQ", cancel), cancel => CutAsync(Fault.RedisRequestsCut, "", "Redis", cancel),
            cancel => CutAsync(Fault.BothWaysCut, "", "", cancel), cancel => CutAsync(Fault.ConnectionSlow, "", "", cancel),
        ];
        while (true)
        {
            foreach (var one in all) yield return one;
            lock (_random) _random.Shuffle(all);
        }
    }

    private async Task WithServersAsync(bool isRestart, Func<Task> harm, CancellationToken cancel)
    {
        await _calm.WaitAsync(cancel);
        try
        {
            Interlocked.Increment(ref _serverFaults);
            await harm();
            var over = Stopwatch.GetTimestamp();
            Note("harm to servers is over");
            if (!isRestart) return;
            if (!await CanaryAsync(cancel)) Wrong($"after {Patience.TotalSeconds} s without harm to servers and connections no transfer has ended");
            Note($"work goes on {Stopwatch.GetElapsedTime(over)} later");
            if (Stopwatch.GetElapsedTime(over) is var recovery && recovery > _worstRecovery) _worstRecovery = recovery;
        }
        finally
        {
            Interlocked.Increment(ref _serverFaults);
            _calm.Release();
            await Task.Delay(Next(200, 1500), cancel);
        }
    }

    private Task KillRedisAsync(CancellationToken cancel) => WithServersAsync(isRestart: true, async () =>
    {
        Note("Redis is killed");
        await _redis.KillAsync();
        _score.Hit(Fault.RedisKilled);
        await Task.Delay(Next(0, 3000), cancel);
        await _redis.BeginAsync();
    }, cancel);

    private Task KillRabbitAsync(CancellationToken cancel) => WithServersAsync(isRestart: true, async () =>
    {
        Note("RabbitMQ is killed");
        await _rabbit.KillAsync();
        _score.Hit(Fault.RabbitKilled);
        await Task.Delay(Next(0, 2000), cancel);
        await _rabbit.BeginAsync();
    }, cancel);

    private Task CutAsync(Fault fault, string who, string server, CancellationToken cancel) => WithServersAsync(isRestart: false, async () =>
    {
        var near = _proxies.Where(proxy => proxy.Name.StartsWith(who, StringComparison.Ordinal) && proxy.Name.EndsWith(server, StringComparison.Ordinal)).ToArray();
        // What held nothing back, since the process there was just starting, was no harm.
        var hit = 0L;
        for (var attempt = 1; hit == 0 && attempt <= 10; attempt++)
        {
            cancel.ThrowIfCancellationRequested();
            var proxy = near[Next(near.Length)];
            var time = TimeSpan.FromMilliseconds(Next(1000, 5000));
            Note($"{fault} between {proxy.Name} for {time}");
            hit = fault switch
            {
                Fault.RedisRequestsCut or Fault.RabbitRequestsCut => await proxy.CutAsync(requests: true, answers: false, time, cancel),
                Fault.RedisAnswersCut or Fault.RabbitAnswersCut => await proxy.CutAsync(requests: false, answers: true, time, cancel),
                Fault.BothWaysCut => await proxy.CutAsync(requests: true, answers: true, time, cancel),
                _ => await proxy.SlowAsync(TimeSpan.FromMilliseconds(Next(100, 500)), time, cancel),
            };
        }
        if (hit > 0) _score.Hit(fault);
    }, cancel);

    private IEnumerable<Func<CancellationToken, Task>> ParticipantHarm()
    {
        while (true)
            yield return async cancel =>
            {
                await Task.Delay(Next(2000, 8000), cancel);
                var participant = _participants[Place.Participants[Next(Place.Participants.Length)]];
                Note($"{participant.Name} is killed");
                await participant.KillAsync();
                _score.Hit(Fault.ParticipantKilled);
                await Task.Delay(Next(0, 1000), cancel);
                await participant.StartAsync(cancel);
            };
    }

    /// <summary>Starts again what killed itself. An engine node never does.</summary>
    private async Task SuperviseAsync(CancellationToken cancel)
    {
        while (!cancel.IsCancellationRequested)
        {
            foreach (var participant in _participants.Values.Where(static participant => participant.IsDead))
            {
                Note($"{participant.Name} has crashed");
                await participant.KillAsync();
                await participant.StartAsync(CancellationToken.None);
                Note($"{participant.Name} is back");
            }
            foreach (var node in _nodes.Values.Where(static node => node.IsDead)) throw new InvalidOperationException($"Engine node {node.Name} has ended by itself; see its log.");
            await Task.Delay(100, CancellationToken.None);
        }
    }

    private int Next(int less) => Next(0, less);

    private int Next(int least, int less)
    {
        lock (_random) return _random.Next(least, less);
    }

    private void TakeTallies()
    {
        foreach (var (fault, what) in new[] { (Fault.ParticipantCrashed, Count.Crashed), (Fault.CallFailed, Count.Failed), (Fault.CallSlow, Count.Slow) })
            _score.Hit(fault, Counted(what) - _score[fault]);
    }

    private long Counted(Count what) => Place.Participants.Sum(name =>
    {
        using var tally = new Tally(Place.Tally(_folder, name));
        return tally[what];
    });

    // ── Peace ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    private async Task MakePeaceAsync(CancellationToken cancel)
    {
        await File.WriteAllTextAsync(Place.Peace(_folder), "", cancel);
        _detour.MakePeace();
        foreach (var participant in _participants.Values.Where(static participant => participant.IsDead)) await participant.KillAsync();
        await Task.WhenAll(_nodes.Values.Concat(_participants.Values).Select(member => member.StartAsync(cancel)));
        await Parallel.ForEachAsync(_unacknowledged, cancel, async (start, stop) => await AcknowledgeAsync(start.Key, start.Value, stop));
        var began = Stopwatch.GetTimestamp();
        while (await UnfinishedAsync(cancel) is > 0 and var unfinished)
        {
            if (Stopwatch.GetElapsedTime(began) > Patience)
            {
                Wrong($"{unfinished} sagas have not ended after {Patience.TotalSeconds} s of peace");
                var page = await _http["a"].GetFromJsonAsync<JsonElement>("/api/v1/sagas?limit=20&status=Running,Confirming,Compensating,Stuck", cancel);
                foreach (var saga in page.GetProperty("items").EnumerateArray()) await DumpAsync(saga.GetProperty("id").GetString()!, cancel);
                return;
            }
            await Task.Delay(200, cancel);
        }
        // What is late must change nothing: everything is to arrive before the books are read.
        try
        {
            await _detour.DrainedAsync(cancel).WaitAsync(Patience, cancel);
        }
        catch (TimeoutException)
        {
            Wrong($"not all messages have arrived after {Patience.TotalSeconds} s of peace");
        }
        _print(string.Create(CultureInfo.InvariantCulture, $"      all ended and all arrived {Stopwatch.GetElapsedTime(began).TotalSeconds:0.0} s later"));
    }

    private async Task<long> UnfinishedAsync(CancellationToken cancel)
    {
        try
        {
            var counts = await _http[AnyNode()].GetFromJsonAsync<JsonElement>("/api/v1/sagas/counts", cancel);
            return counts.GetProperty("byStatus").EnumerateObject().Where(static one => one.Name is not ("Completed" or "Compensated" or "Terminated")).Sum(static one => one.Value.GetInt64());
        }
        catch (Exception e) when (IsNetwork(e, cancel))
        {
            return long.MaxValue;
        }
    }

    // ── Judgement ───────────────────────────────────────────────────────────────────────────────────────────────────────

    private async Task<bool> JudgeAsync(CancellationToken cancel)
    {
        var sagas = new Dictionary<string, string>();
        for (string? cursor = ""; cursor is not null;)
        {
            var page = await _http["a"].GetFromJsonAsync<JsonElement>($"/api/v1/sagas?limit=500{(cursor == "" ? "" : "&cursor=" + Uri.EscapeDataString(cursor))}", cancel);
            foreach (var saga in page.GetProperty("items").EnumerateArray()) sagas.Add(saga.GetProperty("id").GetString()!, saga.GetProperty("status").GetString()!);
            cursor = page.GetProperty("next").GetString();
        }
        foreach (var id in _orders.Keys.Except(sagas.Keys)) Wrong($"{id} was acknowledged and is not there (P6)");
        foreach (var id in sagas.Keys.Except(_orders.Keys)) Wrong($"{id} is there, and nobody has started it");
        await Parallel.ForEachAsync(sagas.Keys, cancel, async (id, stop) => await CheckHistoryAsync(id, stop));
        await Parallel.ForEachAsync(_seenEnded, cancel, async (seen, stop) =>
        {
            if (await _http["b"].GetStringAsync($"/api/v1/sagas/{seen.Key}", stop) != seen.Value) Wrong($"{seen.Key} had ended, and has changed since (P10)");
        });
        await Parallel.ForEachAsync(_seenOpen, cancel, async (seen, stop) =>
        {
            var saga = await _http["a"].GetFromJsonAsync<JsonElement>($"/api/v1/sagas/{seen.Key}", stop);
            var (shown, isCommitted) = (seen.Value.GetProperty("status").GetString(), seen.Value.GetProperty("committedAt").ValueKind != JsonValueKind.Null);
            if (isCommitted && saga.GetProperty("committedAt").GetString() != seen.Value.GetProperty("committedAt").GetString()) Wrong($"{seen.Key} was shown as past its commit point, and that was forgotten (P11)");
            if (shown == "Compensating" && saga.GetProperty("status").GetString() != "Compensated") Wrong($"{seen.Key} was shown as compensating, and that was forgotten (P11)");
            if (saga.GetProperty("updatedAt").GetDateTime() < seen.Value.GetProperty("updatedAt").GetDateTime()) Wrong($"{seen.Key} was shown as it never was (P11)");
        });

        var database = _look.GetDatabase();
        var books = Place.Participants.Where(static name => name != "payee").SelectMany(name => FileBooks.Read(Place.Books(_folder, name), out _))
            .Concat((await database.ListRangeAsync(Payee.Books)).Select(static line => Entry.Parse(line!))).ToArray();
        var balances = (await database.HashGetAllAsync(Payee.Balances)).Sum(static balance => (long)balance.Value);
        var verdict = new Verdict(sagas, _orders, books, _detour.Heard);
        foreach (var wrong in verdict.Wrongs(balances)) Wrong(wrong);

        TakeTallies();
        foreach (var fault in Missing()) Wrong($"never hit: {_score.Text(fault)}");
        var completed = sagas.Values.Count(static status => status == "Completed");
        if (completed * 5 < sagas.Count) Wrong($"only {completed} of {sagas.Count} sagas completed: too few for a test");
        var takeover = Worst(_score.Takeovers);
        if (_score.Takeovers.IsEmpty || takeover >= TakeoverLimit) Wrong(string.Create(CultureInfo.InvariantCulture, $"the worst of {_score.Takeovers.Count} takeovers took {takeover.TotalSeconds:0.0} s"));

        foreach (var fault in Enum.GetValues<Fault>()) _print($"{_score[fault],8}  {_score.Text(fault)}");
        _print($"{sagas.Count,8}  sagas: {string.Join(", ", sagas.GroupBy(static saga => saga.Value).OrderBy(static group => group.Key).Select(static group => $"{group.Count()} {group.Key}"))}; {_cancelled} by an operator's cancel");
        _print($"{Counted(Count.Answered) - Counted(Count.Handled),8}  commands that the barriers answered alone, of {Counted(Count.Answered)}; {Counted(Count.Recognised)} more that the books knew");
        _print($"{_seenEnded.Count + _seenOpen.Count,8}  sagas were looked at on the way and are what was shown; {_seenEnded.Count} had ended");
        _print($"{verdict.EmptyCancels,8}  undone without ever having been done (empty cancel); {_score.LateTries} tries came after that and were refused");
        _print(string.Create(CultureInfo.InvariantCulture, $"{takeover.TotalSeconds,6:0.0} s  worst of {_score.Takeovers.Count} takeovers from a dead node, to the next commit; {Worst(_score.HinderedTakeovers).TotalSeconds:0.0} s of {_score.HinderedTakeovers.Count} from stopped nodes, or with Redis or RabbitMQ away as well"));
        _print(string.Create(CultureInfo.InvariantCulture, $"{_worstRecovery.TotalSeconds,6:0.0} s  worst time from a server's return to the next transfer that ended"));
        _print($"          {verdict.Money}");
        foreach (var wrong in _wrongs.Take(50)) _print($"WRONG     {wrong}");
        if (_wrongs.Count > 50) _print($"WRONG     and {_wrongs.Count - 50} more");
        _print(_wrongs.IsEmpty ? "All promises held." : $"{_wrongs.Count} wrongs.");
        return _wrongs.IsEmpty;
    }

    /// <summary>Leaves a saga and its history beside the logs.</summary>
    private async Task DumpAsync(string id, CancellationToken cancel)
    {
        foreach (var what in new[] { "", "/history?limit=500" })
        {
            try
            {
                await File.AppendAllTextAsync(Path.Combine(_folder, id + ".json"), await _http[AnyNode()].GetStringAsync($"/api/v1/sagas/{id}{what}", cancel) + "\n", cancel);
            }
            catch (Exception e) when (IsNetwork(e, cancel))
            {
            }
        }
    }

    private static TimeSpan Worst(IEnumerable<TimeSpan> times) => times.DefaultIfEmpty().Max();

    private async Task CheckHistoryAsync(string id, CancellationToken cancel)
    {
        var items = (await _http[AnyNode()].GetFromJsonAsync<JsonElement>($"/api/v1/sagas/{id}/history?limit=500", cancel)).GetProperty("items").EnumerateArray().ToArray();
        if (!items.Select(static item => item.GetProperty("seq").GetInt32()).SequenceEqual(Enumerable.Range(1, items.Length))) Wrong($"{id}: its history has a gap");
        var decisions = items.Count(static item => item.GetProperty("event").GetString() is "committed" or "turned-back");
        if (decisions != 1) Wrong($"{id}: its history tells of {decisions} decisions");
    }
}
