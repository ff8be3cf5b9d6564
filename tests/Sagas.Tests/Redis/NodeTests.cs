using System.Collections.Immutable;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Sagas.Redis;
using Sagas.Runtime;
using Sagas.Tests.Heart;
using Sagas.Tests.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Redis;

/// <summary>
/// Several engines on one Redis, each with a clock and a bus of its own. Leases last longer than a test takes, and end when the test says so: nothing here waits
/// for time to pass.
/// </summary>
public sealed class NodeTests : IAsyncDisposable
{
    // A fifth of it, after which a node looks at the others, is less than an attempt's timeout of 10 s.
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(45);
    private readonly string _prefix = $"n-{Guid.NewGuid():N}";
    private readonly List<Node> _nodes = [];
    private RedisServer? _own;

    public async ValueTask DisposeAsync()
    {
        foreach (var node in _nodes) await node.DisposeAsync();
        if (_own is not null) await _own.DisposeAsync();
    }

    [Fact]
    public async Task A_dead_nodes_sagas_are_taken_over_and_finished()
    {
        var (a, b) = (await NodeAsync("a"), await NodeAsync("b"));
        await a.StartAsync("p1");
        await a.Bus.NextAsync(2);
        await DieAsync("a");
        b.Time.Advance(Lease / 5);
        var tries = await b.Bus.NextAsync(2);
        await b.ReplyAsync(tries.Values);
        await b.ReplyAsync((await b.Bus.NextAsync(2)).Values);
        (await b.EndOfAsync("p1")).Status.ShouldBe(SagaStatus.Completed);
        (await b.SagasOfAsync("b")).ShouldBe(0);
    }

    [Fact]
    public async Task A_saga_that_is_taken_over_while_its_start_is_repeated_goes_on()
    {
        var a = await NodeAsync("a");
        await a.StartAsync("p1");
        await a.Bus.NextAsync(2);
        var store = new HeldStore(Store("b"));
        var b = await NodeAsync("b", store, workers: 1);
        var other = b.StartAsync("p2").AsTask();
        await store.Committing;
        // Meanwhile both come to the worker's mailbox, and so into one batch.
        var repeated = b.StartAsync("p1").AsTask();
        await DieAsync("a");
        b.Time.Advance(Lease / 5);
        await store.Adopted;
        store.GoOn();
        (await other).Outcome.ShouldBe(StartOutcome.Started);
        (await repeated).Outcome.ShouldBe(StartOutcome.Exists);
        var sent = new List<CommandItem>();
        for (var i = 0; i < 4; i++) sent.Add(await b.Bus.NextAsync());
        sent.Count(static command => command.Saga == "p1").ShouldBe(2);
    }

    [Fact]
    public async Task A_saga_that_is_taken_over_while_a_reply_comes_that_changes_nothing_goes_on()
    {
        var a = await NodeAsync("a");
        await a.StartAsync("p1");
        var tries = await a.Bus.NextAsync(2);
        var store = new HeldStore(Store("b"));
        var b = await NodeAsync("b", store, workers: 1);
        await b.ReplyAsync([tries["seat"] with { Attempt = 7 }]);
        await store.Finding;
        await DieAsync("a");
        b.Time.Advance(Lease / 5);
        await store.Adopted;
        store.GoOn();
        (await b.Bus.NextAsync(2)).Keys.ShouldBe(["seat", "room"], ignoreOrder: true);
    }

    [Fact]
    public async Task A_start_that_is_repeated_to_the_node_that_has_just_claimed_the_saga_does_not_leave_it_to_nobody()
    {
        var (a, b) = (await NodeAsync("a"), await NodeAsync("b"));
        await a.StartAsync("p1");
        await a.Bus.NextAsync(2);
        // b has claimed it, and has not come to it yet.
        (await b.ClaimAsync("a")).ShouldBe(1);
        (await b.StartAsync("p1")).Outcome.ShouldBe(StartOutcome.Exists);
        await b.ReplyAsync((await b.Bus.NextAsync(2)).Values);
        await b.ReplyAsync((await b.Bus.NextAsync(2)).Values);
        (await b.EndOfAsync("p1")).Status.ShouldBe(SagaStatus.Completed);
    }

    [Fact]
    public async Task What_was_claimed_and_never_heard_of_is_found_though_the_store_is_away_for_longer()
    {
        var failing = new DeafStore(Store("b"));
        var (a, b) = (await NodeAsync("a"), await NodeAsync("b", failing));
        await a.StartAsync("p1");
        await a.Bus.NextAsync(2);
        await DieAsync("a");
        // The claim is carried out, its answer is lost, and so is the first look at what is this node's now.
        (failing.LosesClaims, failing.FailsOwned) = (1, 1);
        for (var turn = 0; turn < 3; turn++)
        {
            var renewals = failing.Renewals;
            b.Time.Advance(Lease / 5);
            await Eventually.TrueAsync(() => failing.Renewals > renewals);
        }
        await b.ReplyAsync((await b.Bus.NextAsync(2)).Values);
        await b.ReplyAsync((await b.Bus.NextAsync(2)).Values);
        (await b.EndOfAsync("p1")).Status.ShouldBe(SagaStatus.Completed);
    }

    [Fact]
    public async Task A_saga_that_became_this_nodes_by_a_request_given_up_as_lost_is_found_within_a_minute()
    {
        var (a, b) = (await NodeAsync("a"), await NodeAsync("b"));
        await a.StartAsync("p1");
        await a.Bus.NextAsync(2);
        await b.StartAsync("p2");
        await b.Bus.NextAsync(2);
        (await b.ClaimAsync("a")).ShouldBe(1);
        b.Time.Advance(TimeSpan.FromMinutes(1));
        var sent = new List<CommandItem>();
        while (sent.Count(static command => command.Saga == "p1") < 2) sent.Add(await b.Bus.NextAsync());
        sent.Where(static command => command.Saga == "p1").Select(static command => command.Step).ShouldBe(["seat", "room"], ignoreOrder: true);
    }

    [Fact]
    public async Task A_node_that_has_lost_a_worker_hands_its_sagas_over_instead_of_keeping_them_to_itself()
    {
        var (a, b) = (await NodeAsync("a"), await NodeAsync("b"));
        await a.StartAsync("p1");
        var tries = await a.Bus.NextAsync(2);
        a.Time.Fault = new InvalidOperationException("What nobody has thought of.");
        await a.ReplyAsync(tries.Values);
        await b.ReplyAsync((await b.Bus.NextAsync(2)).Values);
        await b.ReplyAsync((await b.Bus.NextAsync(2)).Values);
        (await b.EndOfAsync("p1")).Status.ShouldBe(SagaStatus.Completed);
        await Eventually.TrueAsync(() => !a.Engine.IsReady);
        a.Time.Fault = null;
    }

    [Fact]
    public async Task A_stopping_node_hands_its_sagas_over_at_once()
    {
        var (a, b) = (await NodeAsync("a"), await NodeAsync("b"));
        for (var i = 0; i < 20; i++) await a.StartAsync($"p{i}");
        await a.DisposeAsync();
        for (var i = 0; i < 40; i++) await b.Bus.NextAsync();
        (await b.SagasOfAsync("b")).ShouldBe(20);
        (await b.Engine.NodesAsync()).Select(static node => node.Id).ShouldBe(["b"]);
    }

    [Fact]
    public async Task A_reply_that_comes_to_another_node_is_decided_there_and_the_owner_lets_go()
    {
        var (a, b) = (await NodeAsync("a"), await NodeAsync("b"));
        await a.StartAsync("p1");
        var tries = await a.Bus.NextAsync(2);
        await b.ReplyAsync(tries.Values);
        var confirms = await b.Bus.NextAsync(2);
        (await b.SagasOfAsync("b")).ShouldBe(1);
        // The first owner is no longer one: its timers say nothing, and what comes to it is decided on what is stored.
        a.Time.Advance(TimeSpan.FromMinutes(1));
        await a.ReplyAsync(confirms.Values);
        (await a.EndOfAsync("p1")).Status.ShouldBe(SagaStatus.Completed);
        a.Bus.IsQuiet.ShouldBeTrue();
        await ShouldBeSoundAsync(a, "p1");
    }

    [Fact]
    public async Task A_node_that_comes_back_after_its_sagas_were_taken_over_changes_nothing()
    {
        var (a, b) = (await NodeAsync("a", hears: false), await NodeAsync("b"));
        await a.StartAsync("p1");
        var tries = await a.Bus.NextAsync(2);
        await DieAsync("a");
        b.Time.Advance(Lease / 5);
        await b.Bus.NextAsync(2);
        (await b.Engine.RequestAsync(new SagaId("p1"), new SagaEvent.CancelRequested("stop", "ann"))).Outcome.ShouldBe(RequestOutcome.Accepted);
        var cancels = await b.Bus.NextAsync(2);
        // It has not heard of any of that. Its next commit is refused, it looks, and it goes on from there.
        await a.ReplyAsync(tries.Values);
        await b.ReplyAsync(cancels.Values);
        (await b.EndOfAsync("p1")).Status.ShouldBe(SagaStatus.Compensated);
        a.Bus.IsQuiet.ShouldBeTrue("it must not confirm what is being cancelled");
        await ShouldBeSoundAsync(b, "p1");
    }

    [Fact]
    public async Task A_node_that_has_not_heard_that_it_lost_a_saga_looks_before_it_says_no_or_how_it_stands()
    {
        var (a, b) = (await NodeAsync("a", hears: false), await NodeAsync("b"));
        await a.StartAsync("p1");
        (await b.Engine.RequestAsync(new SagaId("p1"), new SagaEvent.PauseRequested("wait", "ann"))).Outcome.ShouldBe(RequestOutcome.Accepted);
        (await a.StartAsync("p1")).Saga!.Paused.ShouldBeTrue("the first node still holds the saga as it was before the second one paused it");
        (await a.Engine.RequestAsync(new SagaId("p1"), new SagaEvent.ResumeRequested("go on", "ann"))).Outcome.ShouldBe(RequestOutcome.Accepted);
        (await b.SagaAsync("p1")).Paused.ShouldBeFalse();
        (await a.Engine.RequestAsync(new SagaId("p1"), new SagaEvent.ResumeRequested("again", "ann"))).Outcome.ShouldBe(RequestOutcome.WrongState);
    }

    [Fact]
    public async Task A_request_that_comes_in_one_batch_with_a_repeated_start_is_decided_on_the_stored_saga()
    {
        var a = await NodeAsync("a");
        await a.StartAsync("p1");
        // The second node's worker is held up in a commit, so that what comes meanwhile is one batch.
        var store = new HeldStore(Store("b"));
        var b = await NodeAsync("b", store, workers: 1);
        var held = b.StartAsync("x1");
        await store.Committing;
        var again = b.StartAsync("p1");
        var paused = b.Engine.RequestAsync(new SagaId("p1"), new SagaEvent.PauseRequested("wait", "ann"));
        store.GoOn();
        await held;
        (await again).Outcome.ShouldBe(StartOutcome.Exists);
        (await paused).Outcome.ShouldBe(RequestOutcome.Accepted);
        (await a.SagaAsync("p1")).Paused.ShouldBeTrue();
    }

    [Fact]
    public async Task A_node_whose_saga_was_paused_elsewhere_resumes_it_though_it_knows_of_no_pause()
    {
        var (a, b) = (await NodeAsync("a", hears: false), await NodeAsync("b"));
        await a.StartAsync("p1");
        (await b.Engine.RequestAsync(new SagaId("p1"), new SagaEvent.PauseRequested("wait", "ann"))).Outcome.ShouldBe(RequestOutcome.Accepted);
        (await a.Engine.RequestAsync(new SagaId("p1"), new SagaEvent.ResumeRequested("go on", "ann"))).Outcome.ShouldBe(RequestOutcome.Accepted);
        (await b.SagaAsync("p1")).Paused.ShouldBeFalse();
    }

    [Fact]
    public async Task A_commit_of_a_node_that_lost_the_saga_is_refused_even_if_nobody_has_changed_it()
    {
        await using var a = Store("a");
        await using var b = Store("b");
        await a.OpenAsync(default);
        await b.OpenAsync(default);
        var start = await a.MustCommitAsync(TestSagas.Start("s"));
        (await b.ClaimAsync("a", 10, default)).Single().Text().ShouldBe(start.State.Text());
        (await a.CommitAsync(start.Next())).ShouldBe(CommitOutcome.Conflict);
        (await a.FindOwnedAsync(new SagaId("s"), default))!.Owner.ShouldBe("b");
        (await a.CommitAsync(start.Next() with { TakenFrom = "b" })).ShouldBe(CommitOutcome.Committed);
        (await b.CommitAsync(start.Next())).ShouldBe(CommitOutcome.Conflict);
        (await a.OwnersAsync(["a", "b"], default)).ShouldBe(new Dictionary<string, long> { ["a"] = 1, ["b"] = 0 });
    }

    [Fact]
    public async Task Of_nodes_that_decide_on_one_saga_at_once_one_wins_and_the_other_decides_again()
    {
        var nodes = new[] { await NodeAsync("a"), await NodeAsync("b"), await NodeAsync("c") };
        for (var round = 0; round < 20; round++)
        {
            var id = $"p{round}";
            var owner = nodes[round % 3];
            await owner.StartAsync(id);
            var tries = await owner.Bus.NextAsync(2);
            await Task.WhenAll(nodes[0].ReplyAsync([tries["seat"]]), nodes[1].ReplyAsync([tries["room"]]),
                nodes[2].Engine.RequestAsync(new SagaId(id), new SagaEvent.CancelRequested("stop", "ann")).AsTask(), nodes[1].ReplyAsync([tries["seat"]]));
            // Whoever turned it round, one way or the other, told the participants: answer them through another node.
            var more = new List<CommandItem>();
            while (!(await owner.SagaAsync(id)).Ended)
            {
                foreach (var node in nodes)
                {
                    while (!node.Bus.IsQuiet) more.Add(await node.Bus.NextAsync());
                }
                await nodes[(round + 1) % 3].ReplyAsync(more);
                foreach (var node in nodes) node.Time.Advance(TimeSpan.FromSeconds(1));
            }
            var saga = await owner.SagaAsync(id);
            var phases = saga.Steps.Select(static step => step.Status).Distinct().ToArray();
            phases.ShouldBe(saga.Status == SagaStatus.Completed ? [StepStatus.Confirmed] : [StepStatus.Cancelled]);
            await ShouldBeSoundAsync(owner, id);
        }
    }

    [Fact]
    public async Task Who_waits_or_listens_on_another_node_hears_of_it()
    {
        var (a, b) = (await NodeAsync("a"), await NodeAsync("b"));
        await a.StartAsync("p1");
        var tries = await a.Bus.NextAsync(2);
        using var one = b.Engine.Feed.Listen(new SagaId("p1"))!;
        using var all = b.Engine.Listen(new SagaFilter(Definition: "pair"))!;
        await Eventually.TrueAsync(async () => await WatchedAsync("p1"));
        var waiting = b.Engine.WaitAsync(new SagaId("p1"), TimeSpan.FromDays(1)).AsTask();
        await a.ReplyAsync(tries.Values);
        await a.ReplyAsync((await a.Bus.NextAsync(2)).Values);
        (await waiting)!.Status.ShouldBe(SagaStatus.Completed);
        foreach (var listener in new[] { one, all })
        {
            var seen = new List<SagaState>();
            while (seen.Count == 0 || !seen[^1].Ended)
            {
                await listener.WaitAsync().WaitAsync(TimeSpan.FromSeconds(20));
                seen.AddRange(listener.Take(out _));
            }
            seen.Max(static saga => saga.Version).ShouldBe((await b.SagaAsync("p1")).Version);
        }
    }

    [Fact]
    public async Task A_request_that_is_refused_leaves_the_saga_with_its_owner()
    {
        var (a, b) = (await NodeAsync("a"), await NodeAsync("b"));
        await a.StartAsync("p1");
        (await b.Engine.RequestAsync(new SagaId("p1"), new SagaEvent.ResumeRequested("why", "ann"))).Outcome.ShouldBe(RequestOutcome.WrongState);
        (await b.SagasOfAsync("a")).ShouldBe(1);
        (await b.Engine.RequestAsync(new SagaId("none"), new SagaEvent.ResumeRequested("why", "ann"))).Outcome.ShouldBe(RequestOutcome.NotFound);
    }

    [Fact]
    public async Task Starting_one_id_on_two_nodes_starts_one_saga()
    {
        var (a, b) = (await NodeAsync("a"), await NodeAsync("b"));
        for (var i = 0; i < 20; i++)
        {
            var outcomes = await Task.WhenAll(a.StartAsync($"p{i}").AsTask(), b.StartAsync($"p{i}").AsTask());
            outcomes.Select(static start => start.Outcome).ShouldBe([StartOutcome.Started, StartOutcome.Exists], ignoreOrder: true);
        }
        (await a.SagasOfAsync("a") + await a.SagasOfAsync("b")).ShouldBe(20);
    }

    [Fact]
    public async Task Nodes_are_listed_with_their_sagas()
    {
        var (a, b) = (await NodeAsync("a"), await NodeAsync("b"));
        await a.StartAsync("p1");
        await a.StartAsync("p2");
        await b.StartAsync("p3");
        var nodes = await b.Engine.NodesAsync();
        nodes.Select(static node => $"{node.Id} {node.Sagas} {node.IsAlive}").Order(StringComparer.Ordinal).ShouldBe(["a 2 True", "b 1 True"]);
        nodes.ShouldAllBe(static node => node.HeartbeatAt > DateTimeOffset.UtcNow.AddMinutes(-10) && node.StartedAt > default(DateTimeOffset));
    }

    [Fact]
    public async Task Two_processes_cannot_have_one_name()
    {
        await using var first = Store("same", lease: TimeSpan.FromSeconds(1));
        await first.OpenAsync(default);
        await using var second = Store("same", lease: TimeSpan.FromSeconds(1));
        var opening = second.OpenAsync(default).AsTask();
        while (!opening.IsCompleted) await first.RenewAsync(default);
        (await Should.ThrowAsync<NodeNameTakenException>(() => opening)).Message.ShouldContain("Sagas:Node");
    }

    [Fact]
    public async Task Lost_writes_are_noticed_and_said_and_the_sagas_go_on_from_what_is_left()
    {
        _own = await RedisServer.StartAsync();
        var a = await NodeAsync("a", lease: TimeSpan.FromSeconds(10));
        await a.StartAsync("p1");
        var tries = await a.Bus.NextAsync(2);
        var before = _own.Copy();
        await a.ReplyAsync(tries.Values);
        await a.Bus.NextAsync(2);
        await Eventually.TrueAsync(async () => (await a.SagaAsync("p1")).CommittedAt is not null);
        await _own.KillAsync();
        _own.Restore(before);
        await _own.BeginAsync();
        await Eventually.TrueAsync(async () =>
        {
            try
            {
                return await a.SagaAsync("p1") is not null;
            }
            catch (StoreUnavailableException)
            {
                return false;
            }
        });
        a.Time.Advance(TimeSpan.FromSeconds(2));
        await Eventually.TrueAsync(() => a.Engine.StoreHealth is { Level: StoreLevel.Good, Detail: not null });
        a.Engine.StoreHealth.Detail!.ShouldContain("lost its last writes");
        // Asked again: the barrier answers that it is tried, and the saga decides once more to confirm.
        await a.ReplyAsync((await a.Bus.NextAsync(2)).Values);
        await a.ReplyAsync((await a.Bus.NextAsync(2)).Values);
        (await a.EndOfAsync("p1")).Status.ShouldBe(SagaStatus.Completed);
        await ShouldBeSoundAsync(a, "p1");
    }

    [Fact]
    public async Task A_start_that_is_repeated_after_the_store_has_lost_its_saga_starts_it_anew()
    {
        var a = await NodeAsync("a");
        await a.StartAsync("p1");
        await a.Bus.NextAsync(2);
        await LoseAsync("p1");
        (await a.StartAsync("p1")).Outcome.ShouldBe(StartOutcome.Started);
        await a.ReplyAsync((await a.Bus.NextAsync(2)).Values);
        await a.ReplyAsync((await a.Bus.NextAsync(2)).Values);
        (await a.EndOfAsync("p1")).Status.ShouldBe(SagaStatus.Completed);
        await ShouldBeSoundAsync(a, "p1");
    }

    private static async Task ShouldBeSoundAsync(Node node, string id)
    {
        var saga = await node.SagaAsync(id);
        var history = (await node.Engine.HistoryAsync(new SagaId(id), 0, 1000))!;
        history.Select(static entry => entry.Seq).ShouldBe(Enumerable.Range(1, saga.HistoryCount));
        history.Count(static entry => entry.Event is "committed" or "turned-back").ShouldBe(1, "one decision, whoever took it");
    }

    [Fact]
    public async Task Whichever_node_is_asked_tells_the_numbers_of_all()
    {
        var (a, b) = (await NodeAsync("a", Store("a"), workers: 1), await NodeAsync("b", Store("b"), workers: 1));
        foreach (var (node, saga, step) in new[] { (a, "p1", "seat"), (b, "p2", "room") })
        {
            await node.StartAsync(saga);
            await node.ReplyAsync([(await node.Bus.NextAsync(2))[step]], Outcome.Error);
            // It was heard, and then written, before each of these.
            await node.StartAsync(saga + "-heard");
            node.Time.Advance(TimeSpan.FromMilliseconds(150));
            await node.StartAsync(saga + "-written");
        }
        // An answer that takes more than half a second, on a busy machine, is left out.
        foreach (var node in new[] { a, b })
            await Eventually.HoldsAsync(async () =>
            {
                (await node.Engine.FailuresAsync()).Groups.Length.ShouldBe(2);
                (await node.Engine.CountInFlightAsync()).ByStatus[SagaStatus.Running].ShouldBe(6);
                var (longest, counts) = await node.Engine.WaitingAsync(new SagaFilter(Definition: "pair"), WaitKind.Retry, 10, TimeSpan.FromHours(1));
                longest.Select(static one => (one.Saga.Id.Value, one.Saga.Steps[one.Step].Error!.Code)).ShouldBe([("p1", "no"), ("p2", "no")], ignoreOrder: true);
                counts[WaitKind.Retry].ShouldBe(2);
                (await node.Engine.WaitingAsync(new SagaFilter(Step: "room"), WaitKind.Retry, 10, TimeSpan.Zero)).Longest.ShouldHaveSingleItem().Saga.Id.Value.ShouldBe("p2");
                (await node.Engine.StatsAsync()).StartedPerSecond.ShouldBe(6);
                (await node.Engine.StatsAsync(["pair"]))[0].FailedPerSecond.ShouldBe(2);
                (await node.Engine.StatsSeriesAsync(15)).Points.Sum(static point => point.Started).ShouldBe(6);
            });
    }

    [Fact]
    public async Task A_node_that_does_not_answer_is_left_out_of_the_numbers()
    {
        var (a, deaf) = (await NodeAsync("a"), await NodeAsync("deaf", hears: false));
        await a.StartAsync("p1");
        await deaf.StartAsync("p2");
        await Eventually.TrueAsync(async () =>
        {
            var began = TimeProvider.System.GetTimestamp();
            (await a.Engine.CountInFlightAsync()).Definitions.ShouldHaveSingleItem().Sagas.ShouldBe(1);
            // It knows of the other by now, and has waited for it.
            return TimeProvider.System.GetElapsedTime(began) > TimeSpan.FromMilliseconds(400);
        });
    }

    private Task<Node> NodeAsync(string name, bool hears = true, TimeSpan? lease = null) => NodeAsync(name, hears ? Store(name, lease) : new DeafStore(Store(name, lease)));

    private async Task<Node> NodeAsync(string name, ISharedSagaStore store, int workers = 2)
    {
        var node = new Node(name, store, workers);
        _nodes.Add(node);
        await node.Engine.StartAsync(default);
        return node;
    }

    private RedisStore Store(string node, TimeSpan? lease = null)
    {
        var connection = (_own ?? RedisServer.SharedAsync().GetAwaiter().GetResult()).Address;
        var options = new RedisOptions { Connection = connection, Prefix = _prefix, Lease = lease ?? Lease, Timeout = TimeSpan.FromSeconds(2) };
        return new RedisStore(Options.Create(options), Options.Create(new SagasOptions { Node = node }), TimeProvider.System);
    }

    /// <summary>What time does when a node does nothing.</summary>
    private async Task DieAsync(string node) => (await RedisServer.SharedAsync()).Cli("zadd", $"{{{_prefix}:nodes}}:leases", "1", node);

    /// <summary>What a failover does to a write that had not reached the replica.</summary>
    private async Task LoseAsync(string id)
    {
        var server = await RedisServer.SharedAsync();
        for (var partition = 0; partition < 16; partition++) server.Cli("del", $"{{{_prefix}:{partition}}}:saga:{id}", $"{{{_prefix}:{partition}}}:history:{id}");
    }

    private async Task<bool> WatchedAsync(string id)
    {
        var server = await RedisServer.SharedAsync();
        return Enumerable.Range(0, 16).Any(partition => server.Cli("exists", $"{{{_prefix}:{partition}}}:await:{id}") == "1")
            && server.Cli("exists", $"{{{_prefix}:0}}:await") == "1";
    }

    /// <summary>A store whose node hears nothing of the others: it was paused, or messages were lost. It can lose the answers of claims, and fail.</summary>
    private class DeafStore(ISharedSagaStore store) : DelegatingSagaStore(store), ISharedSagaStore
    {
        private int _renewals;

        private ISharedSagaStore Shared => (ISharedSagaStore)Inner;

        /// <summary>So many claims are carried out and not answered.</summary>
        public int LosesClaims { get; set; }

        /// <summary>So many times it cannot say what the node owns.</summary>
        public int FailsOwned { get; set; }

        public int Renewals => Volatile.Read(ref _renewals);

        public string Node => Shared.Node;
        public TimeSpan Lease => Shared.Lease;
        public void Listen(INodeListener listener)
        {
        }
        public ValueTask<IReadOnlyList<NodeLease>> RenewAsync(CancellationToken cancel)
        {
            Interlocked.Increment(ref _renewals);
            return Shared.RenewAsync(cancel);
        }

        public virtual async ValueTask<IReadOnlyList<SagaState>> ClaimAsync(string node, int most, CancellationToken cancel)
        {
            var claimed = await Shared.ClaimAsync(node, most, cancel);
            return LosesClaims-- > 0 ? throw new StoreUnavailableException("The connection is cut.") : claimed;
        }

        public ValueTask<IReadOnlyList<SagaState>> OwnedAsync(Predicate<SagaId> which, CancellationToken cancel) =>
            FailsOwned-- > 0 ? throw new StoreUnavailableException("There is no connection.") : Shared.OwnedAsync(which, cancel);
        public ValueTask<IReadOnlyDictionary<string, long>> OwnersAsync(IReadOnlyList<string> nodes, CancellationToken cancel) => Shared.OwnersAsync(nodes, cancel);
        public ValueTask ReleaseAsync(CancellationToken cancel) => Shared.ReleaseAsync(cancel);
        public ValueTask ForgetAsync(NodeLease node, CancellationToken cancel) => Shared.ForgetAsync(node, cancel);
        public virtual ValueTask<OwnedSaga?> FindOwnedAsync(SagaId id, CancellationToken cancel) => Shared.FindOwnedAsync(id, cancel);
        public ValueTask WatchAsync(SagaId? saga, CancellationToken cancel) => Shared.WatchAsync(saga, cancel);
        public ValueTask<IReadOnlyList<ReadOnlyMemory<byte>>> AskAsync(IReadOnlyCollection<string> nodes, ReadOnlyMemory<byte> question, TimeSpan patience, CancellationToken cancel) =>
            Shared.AskAsync(nodes, question, patience, cancel);
    }

    /// <summary>A store that answers no commit and no look until the test says so, and tells when what it claimed is in the mailboxes.</summary>
    private sealed class HeldStore(ISharedSagaStore store) : DeafStore(store)
    {
        private readonly TaskCompletionSource _committing = Later(), _finding = Later(), _adopted = Later(), _goOn = Later();
        private int _claims;

        public Task Committing => _committing.Task.WaitAsync(TimeSpan.FromSeconds(15));
        public Task Finding => _finding.Task.WaitAsync(TimeSpan.FromSeconds(15));
        public Task Adopted => _adopted.Task.WaitAsync(TimeSpan.FromSeconds(15));
        public void GoOn() => _goOn.SetResult();

        public override async ValueTask<ImmutableArray<CommitOutcome>> CommitAsync(IReadOnlyList<SagaCommit> commits, CancellationToken cancel)
        {
            _committing.TrySetResult();
            await _goOn.Task.WaitAsync(TimeSpan.FromSeconds(20), cancel);
            return await base.CommitAsync(commits, cancel);
        }

        public override async ValueTask<OwnedSaga?> FindOwnedAsync(SagaId id, CancellationToken cancel)
        {
            var found = await base.FindOwnedAsync(id, cancel);
            _finding.TrySetResult();
            await _goOn.Task.WaitAsync(TimeSpan.FromSeconds(20), cancel);
            return found;
        }

        public override ValueTask<IReadOnlyList<SagaState>> ClaimAsync(string node, int most, CancellationToken cancel)
        {
            // It asks for more when it has handed on the first.
            if (++_claims == 2) _adopted.TrySetResult();
            return base.ClaimAsync(node, most, cancel);
        }

        private static TaskCompletionSource Later() => new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    private sealed class Node : IAsyncDisposable
    {
        private readonly ISharedSagaStore _store;
        private bool _stopped;

        public Node(string name, ISharedSagaStore store, int workers)
        {
            _store = store;
            var options = new SagasOptions { Workers = workers, Node = name };
            Engine = new SagaEngine(new DefinitionCatalog([new Pair()], [], options.StuckAfter), store, Bus, Options.Create(options), Time, NullLogger<SagaEngine>.Instance);
        }

        public ManualTime Time { get; } = new();
        public TestBus Bus { get; } = new();
        public SagaEngine Engine { get; }

        public ValueTask<StartResult> StartAsync(string id) => Engine.StartAsync(new StartRequest("pair", Payload.Parse("""{"name":"Ada"}""")) { Id = new SagaId(id) });

        public async Task ReplyAsync(IEnumerable<CommandItem> commands, Outcome outcome = Outcome.Ok) => await Engine.ReceiveAsync(new ReplyBatch([.. commands.Select(command =>
            new ReplyItem(command.Saga, command.Step, command.Phase, command.Attempt, outcome, Payload.Parse("""{"id":"x","price":10}"""), "no", "no"))]));

        public async Task<SagaState> SagaAsync(string id) => (await Engine.FindAsync(new SagaId(id)))!;

        public async Task<SagaState> EndOfAsync(string id) => (await Engine.WaitAsync(new SagaId(id), TimeSpan.FromDays(1)).AsTask().WaitAsync(TimeSpan.FromSeconds(15)))!;

        public async Task<int> ClaimAsync(string node) => (await _store.ClaimAsync(node, 10, default)).Count;

        public async Task<long> SagasOfAsync(string node) => (await Engine.NodesAsync()).SingleOrDefault(one => one.Id == node)?.Sagas ?? 0;

        public async ValueTask DisposeAsync()
        {
            if (_stopped) return;
            _stopped = true;
            await Engine.StoppingAsync(default);
            await _store.DisposeAsync();
        }
    }
}
