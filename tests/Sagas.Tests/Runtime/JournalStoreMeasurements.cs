using System.Diagnostics;
using Sagas.Runtime;
using Xunit;

namespace Sagas.Tests.Runtime;

/// <summary>Run by hand: <c>dotnet run -c Release --project tests/Sagas.Tests -- -explicit only -class Sagas.Tests.Runtime.JournalStoreMeasurements -showliveoutput</c>.</summary>
public sealed class JournalStoreMeasurements(ITestOutputHelper output) : IAsyncDisposable
{
    const int Many = 1_000_000, Batch = 250, Workers = 2;

    readonly string _directory = Path.Combine(Path.GetTempPath(), $"sagas-measure-{Guid.NewGuid():N}");

    [Fact(Explicit = true)]
    public async Task A_million_finished_sagas()
    {
        var store = Store();
        await store.OpenAsync(default);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var (watch, cpu) = (Stopwatch.StartNew(), Environment.CpuUsage.TotalTime);
        await Task.WhenAll(Enumerable.Range(0, Workers).Select(worker => Task.Run(async () =>
        {
            for (var at = worker * Batch; at < Many; at += Workers * Batch)
            {
                var starts = new SagaCommit[Batch];
                for (var i = 0; i < Batch; i++) starts[i] = TestSagas.Start(Guid.NewGuid().ToString(), $"definition-{i % 10}", TestSagas.Noon.AddMilliseconds(at + i), """{"flight":"LX 1","day":"2026-03-01","card":"4000-0000-0000-0002"}""", ("customer", $"c{at + i}"), ("region", i % 2 == 0 ? "eu" : "us"));
                await store.CommitAsync(starts, default);
                var confirms = starts.Select(TestSagas.Confirm).ToArray();
                await store.CommitAsync(confirms, default);
                await store.CommitAsync([.. confirms.Select(static saga => saga.End())], default);
            }
        })));
        var (seconds, cpuSeconds) = (watch.Elapsed.TotalSeconds, (Environment.CpuUsage.TotalTime - cpu).TotalSeconds);
        output.WriteLine($"{3 * Many / seconds:N0} commits/s, {cpuSeconds / 3 / Many * 1e6:F1} us CPU a commit with making the states, {Size() / 3.0 / Many:F0} bytes of disk a commit");

        watch.Restart();
        for (var i = 0; i < 100_000; i++)
        {
            var start = TestSagas.Start("12345678-1234-1234-1234-123456789012", $"definition-{i % 10}", TestSagas.Noon.AddMilliseconds(i), """{"flight":"LX 1","day":"2026-03-01","card":"4000-0000-0000-0002"}""", ("customer", $"c{i}"), ("region", i % 2 == 0 ? "eu" : "us"));
            start.Confirm().End();
        }

        output.WriteLine($"  of which making the states: {watch.Elapsed.TotalMicroseconds / 300_000:F1} us");

        var stuck = TestSagas.Start("stuck-one", at: TestSagas.Noon.AddMinutes(1));
        await store.CommitAsync([stuck], default);
        await store.CommitAsync([stuck.Stick()], default);
        output.WriteLine($"{(GC.GetTotalMemory(forceFullCollection: true) - before) / (double)Many:F0} bytes of memory a finished saga");
        await QueryAsync(store, output);

        watch.Restart();
        await store.KeepHouseAsync();
        output.WriteLine($"housekeeping with a snapshot: {watch.Elapsed.TotalMilliseconds:F0} ms; {Size(".snapshot") / (double)Many:F0} bytes a saga");
        await store.DisposeAsync();
        watch.Restart();
        store = Store();
        await store.OpenAsync(default);
        output.WriteLine($"reopened from the snapshot: {watch.Elapsed.TotalMilliseconds:F0} ms");
        await QueryAsync(store, output);
        await store.DisposeAsync();
        foreach (var snapshot in Directory.GetFiles(_directory, "*.snapshot")) File.Delete(snapshot);
        watch.Restart();
        store = Store();
        await store.OpenAsync(default);
        output.WriteLine($"reopened from {Size() >> 20} MiB of log: {watch.Elapsed.TotalMilliseconds:F0} ms");
        await store.DisposeAsync();
    }

    [Fact(Explicit = true)]
    public async Task Serialising_and_indexing_alone()
    {
        var store = new MemoryStore();
        var starts = Enumerable.Range(0, 200_000).Select(static i => TestSagas.Start(Guid.NewGuid().ToString(), "trip", TestSagas.Noon.AddMilliseconds(i), tags: ("customer", $"c{i}"))).ToArray();
        var confirms = starts.Select(TestSagas.Confirm).ToArray();
        var ends = confirms.Select(static saga => saga.End()).ToArray();
        var watch = Stopwatch.StartNew();
        foreach (var commits in new[] { starts, confirms, ends })
        {
            foreach (var batch in commits.Chunk(Batch)) await store.CommitAsync(batch, default);
            output.WriteLine($"index: {watch.Elapsed.TotalMicroseconds / commits.Length:F2} us a commit");
            watch.Restart();
        }

        foreach (var commits in new[] { starts, confirms, ends })
        {
            using var buffer = new RecordBuffer();
            watch.Restart();
            foreach (var commit in commits) buffer.WriteCommit(new SagaEntry(commit.State, new IndexedDefinition("trip")), commit, [], 0);
            output.WriteLine($"serialising: {watch.Elapsed.TotalMicroseconds / commits.Length:F2} us a commit, {buffer.Bytes / commits.Length} bytes");
        }
    }

    internal static async Task QueryAsync(ISagaStore store, ITestOutputHelper output)
    {
        await Time("list newest 50", new SagaFilter());
        await Time("list stuck", new SagaFilter([SagaStatus.Stuck]));
        await Time("list definition", new SagaFilter(Definition: "definition-3"));
        await Time("list rare tag", new SagaFilter(Tags: [KeyValuePair.Create("customer", "c4711")]));
        await Time("list common tag", new SagaFilter(Tags: [KeyValuePair.Create("region", "eu")]));
        await Time("list common tag and definition that never meet", new SagaFilter(Definition: "definition-3", Tags: [KeyValuePair.Create("region", "eu")]));
        await Time("list text, an id's start", new SagaFilter(Text: "abcd1"));
        await Time("list text, a tag's value", new SagaFilter(Text: "c815"));
        await Time("list text, nothing", new SagaFilter(Text: "zzz"));
        await Time("list started in one second", new SagaFilter(StartedAfter: TestSagas.Noon.AddMinutes(3), StartedBefore: TestSagas.Noon.AddMinutes(3).AddSeconds(1)));
        await Time("count all", new SagaFilter(), count: true);
        await Time("count definition", new SagaFilter(Definition: "definition-3"), count: true);
        await Time("count common tag", new SagaFilter(Tags: [KeyValuePair.Create("region", "eu")]), count: true);

        async Task Time(string name, SagaFilter filter, bool count = false)
        {
            var best = TimeSpan.MaxValue;
            long found = 0;
            for (var i = 0; i < 5; i++)
            {
                var watch = Stopwatch.StartNew();
                found = count ? (await store.CountAsync(filter, default)).Values.Sum() : (await store.ListAsync(filter, 50, null, default)).Items.Count;
                if (watch.Elapsed < best) best = watch.Elapsed;
            }

            output.WriteLine($"  {name}: {best.TotalMilliseconds:F2} ms ({found})");
        }
    }

    JournalStore Store() => new(new JournalStoreOptions { Path = _directory }, TimeSpan.FromDays(10_000), new StoppedClock(TestSagas.Noon));

    long Size(string ending = "") => Directory.GetFiles(_directory, "*" + ending).Sum(static path => new FileInfo(path).Length);

    public ValueTask DisposeAsync()
    {
        if (Directory.Exists(_directory)) Directory.Delete(_directory, recursive: true);
        return ValueTask.CompletedTask;
    }
}
