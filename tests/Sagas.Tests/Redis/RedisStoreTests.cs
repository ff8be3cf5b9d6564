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
                Tags: random.Next(3) == 0 ? Tags(($"k{random.Next(2)}", $"v{random.Next(5)}")) : null,
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
    private protected override async Task<string> ServersAsync() => (await RedisServer.ClusterAsync()).Address;
}
