using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Runtime;

/// <summary>A journal that an earlier build wrote, kept in the repository: every later build must read it.</summary>
public sealed class GoldenJournalTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("sagas-golden-").FullName;

    // Of every ending one, one on its way in each direction, text of all kinds, and enough padding for a second segment.
    private static SagaCommit[] Commits()
    {
        var first = TestSagas.Start("done-1", tags: ("city", "Zürich"));
        var back = TestSagas.Start("back-1", "order", input: """{"text":"\"quoted\" \u0001 漢字 😀","big":12345678901234567890.12345}""");
        var stuck = TestSagas.Start("stuck-1");
        var fresh = TestSagas.Start("fresh-1", input: $"\"{new string('x', 2000)}\"");
        return
        [
            first, first.Confirm(), first.Confirm().End(),
            back, back.End(SagaStatus.Compensated),
            stuck, stuck.Stick(),
            fresh,
        ];
    }

    [Fact]
    public async Task A_journal_of_format_1_is_read_whole()
    {
        foreach (var file in Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "Runtime", "Golden", "journal-1")))
            File.Copy(file, Path.Combine(_directory, Path.GetFileName(file)));
        await using var store = Store();
        var unfinished = await store.OpenAsync(default);
        unfinished.Select(saga => saga.Id.Value).Order().ShouldBe(["fresh-1", "stuck-1"]);
        foreach (var commit in Commits().GroupBy(commit => commit.State.Id).Select(versions => versions.Last()))
        {
            (await store.FindAsync(commit.State.Id, default)).Text().ShouldBe(commit.State.Text());
            var history = (await store.HistoryAsync(commit.State.Id, 0, 100, default))!;
            history.Count.ShouldBe(commit.State.HistoryCount);
            history[^1].ShouldBe(commit.History[^1]);
        }
        // And is written on.
        (await store.CommitAsync(Commits()[^1].Confirm())).ShouldBe(CommitOutcome.Committed);
    }

    /// <summary>Made the golden journal; for the next format, write the next folder beside it.</summary>
    [Fact(Explicit = true)]
    public async Task Write_a_golden_journal()
    {
        await using (var store = Store())
        {
            await store.OpenAsync(default);
            foreach (var commit in Commits())
            {
                await store.MustCommitAsync(commit);
                await store.KeepHouseAsync();
            }
        }
        var golden = Directory.CreateDirectory(Path.Combine(Environment.GetEnvironmentVariable("SAGAS_GOLDEN") ?? throw new InvalidOperationException("Set SAGAS_GOLDEN to the folder to write to."))).FullName;
        foreach (var file in Directory.GetFiles(_directory)) File.Copy(file, Path.Combine(golden, Path.GetFileName(file)), overwrite: true);
    }

    private JournalStore Store() =>
        new(new JournalStoreOptions { Path = _directory, SegmentBytes = 4096, ReserveBytes = 0, Preallocate = false }, TimeSpan.FromDays(7), new StoppedClock(TestSagas.Noon));

    public void Dispose() => Directory.Delete(_directory, recursive: true);
}
