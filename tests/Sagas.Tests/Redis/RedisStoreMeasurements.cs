using System.Diagnostics;
using Microsoft.Extensions.Options;
using Sagas.Redis;
using Sagas.Runtime;
using Sagas.Tests.Runtime;
using Xunit;

namespace Sagas.Tests.Redis;

/// <summary>Run by hand: <c>dotnet run -c Release --project tests/Sagas.Tests -- -explicit only -class Sagas.Tests.Redis.RedisStoreMeasurements -showliveoutput</c>.</summary>
public sealed class RedisStoreMeasurements(ITestOutputHelper output)
{
    private const int Batch = 250, Workers = 2;

    [Fact(Explicit = true)]
    public async Task A_thousand_a_hundred_thousand_and_a_million_finished_sagas()
    {
        await using var server = await RedisServer.StartAsync("--appendfsync", "everysec");
        await using var store = new RedisStore(Options.Create(new RedisOptions { Connection = server.Address, Timeout = TimeSpan.FromSeconds(30) }),
            Options.Create(new SagasOptions { Retention = TimeSpan.FromDays(10_000) }), TimeProvider.System);
        await store.OpenAsync(default);
        var stuck = TestSagas.Start("stuck-one", at: TestSagas.Noon.AddSeconds(-1));
        await store.MustCommitAsync(stuck, stuck.Stick());
        var done = 0;
        foreach (var many in new[] { 1_000, 100_000, 1_000_000 })
        {
            var (watch, from) = (Stopwatch.StartNew(), done);
            await Task.WhenAll(Enumerable.Range(0, Workers).Select(worker => Task.Run(async () =>
            {
                for (var at = from + (worker * Batch); at < many; at += Workers * Batch)
                {
                    var starts = new SagaCommit[Batch];
                    for (var i = 0; i < Batch; i++)
                        starts[i] = TestSagas.Start(Guid.NewGuid().ToString(), $"definition-{i % 10}", TestSagas.Noon.AddMilliseconds(at + i), """{"flight":"LX 1","day":"2026-03-01","card":"4000-0000-0000-0002"}""",
                            ("customer", $"c{at + i}"), ("region", i % 2 == 0 ? "eu" : "us"));
                    await store.CommitAsync(starts, default);
                    var confirms = starts.Select(TestSagas.Confirm).ToArray();
                    await store.CommitAsync(confirms, default);
                    await store.CommitAsync([.. confirms.Select(static saga => saga.End())], default);
                }
            })));
            done = many;
            var memory = server.Cli("info", "memory").Split('\n').Single(static line => line.StartsWith("used_memory:", StringComparison.Ordinal)).Split(':')[1].Trim();
            output.WriteLine($"{many} finished sagas: {3 * (many - from) / watch.Elapsed.TotalSeconds:N0} commits/s; {long.Parse(memory) / many} bytes of memory a saga");
            await JournalStoreMeasurements.QueryAsync(store, output);
        }
    }
}
