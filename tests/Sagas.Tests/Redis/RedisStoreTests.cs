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
        (await again.OwnedAsync(default)).ShouldBeEmpty();
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
