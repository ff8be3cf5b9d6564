using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Runtime;

/// <summary>Who listens hears what is durable, in order; who is slow hears less, and is told.</summary>
public sealed class SagaFeedTests
{
    private static SagaState Saga(string id, long version = 1) => TestSagas.Start(id).State with { Version = version };

    [Fact]
    public async Task A_listener_to_one_saga_hears_its_versions_in_order_and_no_others()
    {
        var feed = new SagaFeed();
        using var listener = feed.Listen(new SagaId("a"))!;
        feed.Committed(null, Saga("b"));
        for (var version = 1; version <= 3; version++) feed.Committed(null, Saga("a", version));
        (await TakeAsync(listener, 3)).Select(saga => saga.Version).ShouldBe([1, 2, 3]);
    }

    [Fact]
    public async Task A_slow_listener_to_one_saga_finds_the_newest()
    {
        var feed = new SagaFeed();
        using var listener = feed.Listen(new SagaId("a"))!;
        using var last = feed.Listen((_, saga) => saga.Id.Value == "z")!;
        for (var version = 1; version <= 1000; version++) feed.Committed(null, Saga("a", version));
        feed.Committed(null, Saga("z"));
        await last.WaitAsync();
        var taken = listener.Take(out var missed);
        missed.ShouldBe(0);
        taken.Count.ShouldBeLessThanOrEqualTo(FeedListener.OneSaga);
        taken[^1].Version.ShouldBe(1000);
    }

    [Fact]
    public async Task A_slow_listener_to_many_is_told_how_much_it_missed()
    {
        var feed = new SagaFeed();
        using var listener = feed.Listen((_, saga) => saga.Id.Value != "z")!;
        using var last = feed.Listen((_, saga) => saga.Id.Value == "z")!;
        for (var i = 0; i < 3000; i++) feed.Committed(null, Saga($"s{i}"));
        feed.Committed(null, Saga("z"));
        await last.WaitAsync();
        var taken = listener.Take(out var missed);
        (taken.Count + missed).ShouldBe(3000);
        taken.Count.ShouldBe(FeedListener.ManySagas);
        feed.Committed(null, Saga("again"));
        (await TakeAsync(listener, 1)).ShouldHaveSingleItem().Id.Value.ShouldBe("again");
    }

    [Fact]
    public async Task What_another_node_commits_is_heard_but_not_passed_on()
    {
        var feed = new SagaFeed();
        using var here = feed.Listen((_, _) => true)!;
        using var passedOn = feed.Listen((_, _) => true, localOnly: true)!;
        feed.Heard(Saga("theirs"));
        feed.Committed(null, Saga("ours"));
        (await TakeAsync(here, 2)).Select(saga => saga.Id.Value).ShouldBe(["theirs", "ours"]);
        (await TakeAsync(passedOn, 1)).ShouldHaveSingleItem().Id.Value.ShouldBe("ours");
    }

    [Fact]
    public void Only_so_many_may_listen()
    {
        var feed = new SagaFeed();
        var listeners = Enumerable.Range(0, SagaFeed.MaxListeners).Select(_ => feed.Listen(new SagaId("a"))!).ToArray();
        feed.Listen(new SagaId("a")).ShouldBeNull();
        listeners[0].Dispose();
        listeners[0].Dispose();
        feed.Listen((_, _) => true).ShouldNotBeNull();
        feed.Listen((_, _) => true).ShouldBeNull();
        foreach (var listener in listeners) listener.Dispose();
        feed.IsHeard.ShouldBeTrue();
    }

    [Fact]
    public async Task Nothing_is_told_before_it_is_durable()
    {
        var stage = await Stage.OpenAsync();
        await using var _ = stage;
        stage.Store.Blocked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var listener = stage.Engine.Listen(new SagaFilter())!;
        var started = stage.StartAsync("pair", "a");
        await stage.Store.Waiting.Task;
        listener.Take(out var missed).ShouldBeEmpty();
        stage.Store.Blocked.SetResult();
        (await started).Outcome.ShouldBe(StartOutcome.Started);
        (await TakeAsync(listener, 1)).ShouldHaveSingleItem().Version.ShouldBe(1);
        missed.ShouldBe(0);
    }

    private static async Task<List<SagaState>> TakeAsync(FeedListener listener, int count)
    {
        var all = new List<SagaState>();
        while (all.Count < count)
        {
            await listener.WaitAsync();
            all.AddRange(listener.Take(out _));
        }
        return all;
    }
}
