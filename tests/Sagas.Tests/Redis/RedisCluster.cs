namespace Sagas.Tests.Redis;

/// <summary>A Redis Cluster of three masters.</summary>
internal sealed class RedisCluster : IAsyncDisposable
{
    private readonly List<RedisServer> _masters = [];

    public string Address => string.Join(',', _masters.Select(static master => master.Address));

    public IReadOnlyList<RedisServer> Masters => _masters;

    /// <summary>The cluster that tests share.</summary>
    public static Task<RedisCluster> SharedAsync() => Servers.ShareAsync("redis-cluster", StartAsync);

    private static async Task<RedisCluster> StartAsync()
    {
        const int Masters = 3, Slots = 16384;
        var cluster = new RedisCluster();
        var buses = new int[Masters];
        for (var i = 0; i < Masters; i++)
        {
            buses[i] = Servers.FreePorts(1)[0];
            var master = await RedisServer.StartAsync("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000", "--cluster-port", $"{buses[i]}");
            cluster._masters.Add(master);
            master.Cli("cluster", "set-config-epoch", $"{i + 1}");
            master.Cli("cluster", "addslotsrange", $"{i * Slots / Masters}", $"{(i + 1) * Slots / Masters - 1}");
        }
        // redis-cli --cluster create greets once, and waits for ever when the greeting is lost, as it may be on a busy machine.
        await Eventually.TrueAsync(() =>
        {
            for (var i = 1; i < Masters; i++) cluster._masters[0].Cli("cluster", "meet", "127.0.0.1", $"{cluster._masters[i].Port}", $"{buses[i]}");
            return cluster._masters.TrueForAll(static master => master.Cli("cluster", "info") is var info
                && info.Contains("cluster_state:ok", StringComparison.Ordinal) && info.Contains($"cluster_known_nodes:{Masters}", StringComparison.Ordinal));
        }, seconds: 60);
        return cluster;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var master in _masters) await master.DisposeAsync();
    }
}
