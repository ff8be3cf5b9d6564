using Microsoft.Extensions.Options;
using Sagas.Redis;
using Sagas.Runtime;
using Sagas.Tests.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Redis;

/// <summary>Sagas in a real redis-server.</summary>
public class RedisStoreTests : StoreContract
{
    private readonly List<RedisStore> _stores = [];

    private protected virtual async Task<string> ServersAsync() => (await RedisServer.SharedAsync()).Address;

    private protected override async Task<ISagaStore> OpenAsync() => await OpenAsync($"t-{Guid.NewGuid():N}");

    private protected override Task ForgetOldAsync(ISagaStore store) => ((RedisStore)store).ExpireAsync();

    public override async ValueTask DisposeAsync()
    {
        foreach (var store in _stores) await store.DisposeAsync();
    }

    [Fact]
    public async Task Another_node_of_the_same_name_finds_the_unfinished_sagas()
    {
        var first = await OpenAsync("reopened", node: "n1", lease: TimeSpan.FromSeconds(1));
        SagaCommit open = TestSagas.Start($"open-{Guid.NewGuid():N}"), ended = TestSagas.Start($"ended-{Guid.NewGuid():N}");
        await first.MustCommitAsync(open, open.Next(), ended, ended.End());
        await first.ReleaseAsync(default);
        var again = Store("reopened", node: "n1");
        (await again.OpenAsync(default)).Select(static saga => saga.Text()).ShouldBe([open.Next().State.Text()]);
        await again.MustCommitAsync(open.Next().End());
        (await again.OwnedAsync(_ => true, default)).ShouldBeEmpty();
    }

    [Fact]
    public async Task Any_listing_and_count_is_the_one_that_memory_gives()
    {
        var random = new Random(7);
        var (redis, memory) = (await OpenAsync($"t-{Guid.NewGuid():N}"), new MemoryStore());
        for (var i = 0; i < 400; i++)
        {
            var tags = Enumerable.Range(0, random.Next(3)).Select(n => ($"k{n}", $"v{random.Next(5)}")).ToArray();
            var saga = TestSagas.Start($"{"abc"[random.Next(3)]}{random.Next(100)}-{i}", $"d{random.Next(3)}", TestSagas.Noon.AddMilliseconds(random.Next(40)), tags: tags);
            var commits = new List<SagaCommit> { saga };
            if (random.Next(4) > 0) commits.Add(saga.Confirm());
            if (random.Next(4) == 0) commits.Add(commits[^1].Stick());
            if (random.Next(2) == 0) commits.Add(commits[^1].End((SagaStatus)(4 + random.Next(3))));
            (await redis.CommitAsync(commits, default)).ShouldBe(await memory.CommitAsync(commits, default));
        }
        for (var i = 0; i < 150; i++)
        {
            var filter = new SagaFilter(
                Statuses: random.Next(3) == 0 ? [.. Enumerable.Range(0, 7).Where(_ => random.Next(3) == 0).Select(static status => (SagaStatus)status)] : null,
                Definition: random.Next(3) == 0 ? $"d{random.Next(4)}" : null,
                Tags: random.Next(2) == 0 ? Tags(($"k{random.Next(2)}", $"v{random.Next(5)}")) : null,
                Text: random.Next(3) == 0 ? new[] { "a", "b1", "c22", "v3", "zz" }[random.Next(5)] : null,
                Step: random.Next(5) == 0 ? "seat" : null,
                StartedAfter: random.Next(4) == 0 ? TestSagas.Noon.AddMilliseconds(random.Next(40)) : null,
                StartedBefore: random.Next(4) == 0 ? TestSagas.Noon.AddMilliseconds(random.Next(40)) : null)
            {
                StepPlaces = [new StepPlace("d1", 1, 0), new StepPlace("d2", 1, 0)],
                Error = random.Next(5) == 0 ? "down" : null,
            };
            (await CountsAsync(redis, filter)).ShouldBe(await CountsAsync(memory, filter), $"{filter}");
            var limit = random.Next(1, 60);
            string? cursor = null;
            var pages = new List<string>();
            do
            {
                var (items, next) = await redis.ListAsync(filter, limit, cursor, default);
                pages.AddRange(items.Select(static saga => saga.Id.Value));
                cursor = next;
            }
            while (cursor is not null);
            string.Join(' ', pages).ShouldBe(await memory.IdsAsync(filter, 1000), $"{filter}");
        }
    }

    [Fact]
    public async Task Counts_by_tag_follow_every_change_of_status_and_no_conflict()
    {
        var store = await OpenAsync();
        SagaFilter eu = new(Tags: Tags(("region", "eu"))), euTrips = eu with { Definition = "trip" };
        SagaCommit trip = TestSagas.Start("t1", tags: [("region", "eu"), ("home", "eu")]), order = TestSagas.Start("o1", "order", tags: ("region", "eu"));
        await store.MustCommitAsync(trip, order, TestSagas.Start("t2", tags: ("region", "us")), TestSagas.Start("t3"));
        (await CountsAsync(store, eu)).ShouldBe("Running 2");
        (await CountsAsync(store, euTrips)).ShouldBe("Running 1");
        var stuck = trip.Next().Stick();
        await store.MustCommitAsync(trip.Next(), stuck);
        (await CountsAsync(store, eu)).ShouldBe("Running 1, Stuck 1");
        // Another's start and another's next version, both too late.
        (await store.CommitAsync(TestSagas.Start("t1", tags: ("region", "eu")))).ShouldBe(CommitOutcome.Conflict);
        (await store.CommitAsync(trip.Next().Confirm())).ShouldBe(CommitOutcome.Conflict);
        (await CountsAsync(store, eu)).ShouldBe("Running 1, Stuck 1");
        await store.MustCommitAsync(stuck.End(), order.Confirm(), order.Confirm().End(SagaStatus.Compensated));
        (await CountsAsync(store, eu)).ShouldBe("Completed 1, Compensated 1");
        (await CountsAsync(store, euTrips)).ShouldBe("Completed 1");
        (await CountsAsync(store, eu with { Statuses = [SagaStatus.Compensated, SagaStatus.Running] })).ShouldBe("Compensated 1");
        (await CountsAsync(store, new SagaFilter(Tags: Tags(("home", "eu"))))).ShouldBe("Completed 1");
        (await CountsAsync(store, new SagaFilter(Tags: Tags(("region", "asia"))))).ShouldBe("");
        (await store.IdsAsync(eu)).ShouldBe("t1 o1");
        (await store.IdsAsync(eu with { Statuses = [SagaStatus.Running] })).ShouldBe("");
    }

    [Fact]
    public async Task Tags_that_read_alike_are_counted_apart()
    {
        var store = await OpenAsync();
        var other = TestSagas.Start("b", tags: ("k:x", "y"));
        await store.MustCommitAsync(TestSagas.Start("a", tags: ("k", "x:y")), other, other.End(), TestSagas.Start("c", "x:y\nz", tags: ("ключ", "é\n\"\U0001F600")));
        (await CountsAsync(store, new SagaFilter(Tags: Tags(("k", "x:y"))))).ShouldBe("Running 1");
        (await CountsAsync(store, new SagaFilter(Tags: Tags(("k:x", "y"))))).ShouldBe("Completed 1");
        (await CountsAsync(store, new SagaFilter(Definition: "x:y\nz", Tags: Tags(("ключ", "é\n\"\U0001F600"))))).ShouldBe("Running 1");
        (await store.IdsAsync(new SagaFilter(Definition: "x:y\nz", Tags: Tags(("ключ", "é\n\"\U0001F600"))))).ShouldBe("c");
    }

    [Fact]
    public async Task What_is_forgotten_is_counted_no_more_and_leaves_no_key_behind()
    {
        var prefix = $"t-{Guid.NewGuid():N}";
        var store = await OpenAsync(prefix);
        var eu = new SagaFilter(Tags: Tags(("region", "eu")));
        var sagas = Enumerable.Range(0, 40).Select(static i => TestSagas.Start($"s{i}", $"d{i % 3}", tags: [("region", "eu"), ("customer", $"c{i}")])).ToArray();
        await store.MustCommitAsync(sagas);
        await store.MustCommitAsync([.. sagas.Skip(1).Select(static (saga, i) => saga.End(i % 2 == 0 ? SagaStatus.Completed : SagaStatus.Compensated, TestSagas.Noon.AddHours(i < 20 ? 1 : 3)))]);
        (await CountsAsync(store, eu)).ShouldBe("Running 1, Completed 20, Compensated 19");
        Time.Now = TestSagas.Noon + Keep + TimeSpan.FromHours(2);
        await store.ExpireAsync();
        (await CountsAsync(store, eu)).ShouldBe("Running 1, Completed 10, Compensated 9");
        (await CountsAsync(store, new SagaFilter(Tags: Tags(("customer", "c1"))))).ShouldBe("");
        await store.MustCommitAsync(sagas[0].End());
        Time.Now += TimeSpan.FromDays(1);
        await store.ExpireAsync();
        (await CountsAsync(store, eu)).ShouldBe("");
        (await KeysAsync(prefix)).Where(static key => !key.Contains(":nodes}:", StringComparison.Ordinal)).Select(static key => key.Split("}:")[1]).Distinct().Order().ShouldBe(["commits", "probe"]);
    }

    private async Task<string[]> KeysAsync(string prefix) =>
        [.. (await ServersAsync()).Split(',').SelectMany(address => RedisServer.Cli(int.Parse(address.Split(':')[1]), "keys", $"{{{prefix}:*").Split('\n', StringSplitOptions.RemoveEmptyEntries))];

    private protected RedisStore Store(string prefix, string node = "n0", TimeSpan? lease = null, string? connection = null, Action<RedisOptions>? configure = null)
    {
        var options = new RedisOptions { Connection = connection ?? ServersAsync().GetAwaiter().GetResult(), Prefix = prefix, Lease = lease ?? TimeSpan.FromHours(1) };
        configure?.Invoke(options);
        var store = new RedisStore(Options.Create(options), Options.Create(new SagasOptions { Node = node, Retention = Keep }), Time);
        _stores.Add(store);
        return store;
    }

    private protected async Task<RedisStore> OpenAsync(string prefix, string node = "n0", TimeSpan? lease = null, Action<RedisOptions>? configure = null)
    {
        await ServersAsync();
        var store = Store(prefix, node, lease, configure: configure);
        await store.OpenAsync(default);
        return store;
    }
}

/// <summary>The same on a cluster of three masters.</summary>
public sealed class RedisClusterStoreTests : RedisStoreTests
{
    private protected override async Task<string> ServersAsync() => (await RedisCluster.SharedAsync()).Address;
}
