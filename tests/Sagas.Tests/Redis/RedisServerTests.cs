using Shouldly;
using Xunit;

namespace Sagas.Tests.Redis;

public class RedisServerTests
{
    [Fact]
    public async Task A_server_keeps_its_data_through_kill_9()
    {
        await using var server = await RedisServer.StartAsync();
        server.Cli("set", "a", "1").ShouldBe("OK");
        await server.KillAsync();
        await server.BeginAsync();
        server.Cli("get", "a").ShouldBe("1");
    }

    [Fact]
    public async Task A_cluster_has_three_masters_that_share_the_slots() =>
        (await RedisCluster.SharedAsync()).Masters[0].Cli("cluster", "nodes").Split('\n').Count(static line => line.Contains("master", StringComparison.Ordinal)).ShouldBe(3);
}
