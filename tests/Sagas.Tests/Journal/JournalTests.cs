using Sagas.Testing.Simulator;
using System.Text;
using Sagas.Journal;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Journal;

public sealed class JournalTests
{
    readonly SimulatedDisk disk = new();
    readonly JournalWorld world = new();

    [Fact]
    public async Task What_was_appended_is_replayed_in_order_and_read_back_by_position()
    {
        await using (var journal = world.Open(disk))
            for (var i = 0; i < 40; i++) await world.Append(journal, 1 + i % 3);
        await using var again = world.Open(disk);
        world.Recovered.ShouldBe(79);
        for (var i = 0; i < 79; i++) JournalWorld.Number(again.Read(world.Positions[i])).ShouldBe(i + 1);
        again.Segments.Count.ShouldBeGreaterThan(3);
        again.Segments.Select(segment => segment.Id).ShouldBe(Enumerable.Range(1, again.Segments.Count).Select(id => (long)id));
    }

    [Fact]
    public async Task The_real_file_system_does_the_same()
    {
        var directory = Path.Combine(Path.GetTempPath(), "journal-" + Guid.NewGuid().ToString("N"));
        try
        {
            var options = new JournalOptions { SegmentBytes = 4096, ReserveBytes = 4096 };
            var positions = new List<JournalPosition>();
            await using (var journal = SegmentedJournal.Open(directory, options, _ => { }))
            {
                for (var i = 0; i < 100; i++) positions.Add(await journal.AppendAsync(JournalWorld.Payload(i)));
                await journal.SnapshotAsync(writer => writer.Write("first"u8));
                await journal.SnapshotAsync(writer => writer.Write("second"u8));
                Should.Throw<JournalLockedException>(() => SegmentedJournal.Open(directory, options, _ => { })).Directory.ShouldBe(directory);
                positions.Add(await journal.AppendAsync(JournalWorld.Payload(100)));
                (await journal.DropSegmentsBeforeAsync(3)).ShouldBe(3);
                Should.Throw<KeyNotFoundException>(() => journal.Read(positions[0]));
                JournalWorld.Number(journal.Read(positions[^1])).ShouldBe(100);
            }

            var seen = new List<string>();
            await using (var again = SegmentedJournal.Open(directory, options, record => seen.Add(Encoding.ASCII.GetString(record.Payload.Span[..Math.Min(10, record.Payload.Length)]))))
            {
                seen.ShouldBe(["second", "0000000100"]);
                again.Epoch.ShouldBe(2);
                again.FirstSegment.ShouldBe(3);
            }

            JournalReader.Verify(directory).Faults.ShouldBeEmpty();
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Fact]
    public async Task Callers_that_wait_together_share_one_fsync()
    {
        await using var journal = world.Open(disk);
        while (!disk.Paths.Any(path => path.EndsWith("/reserve", StringComparison.Ordinal))) await Task.Yield();
        disk.SyncGate.Reset();
        var first = journal.AppendAsync(JournalWorld.Payload(1)).AsTask();
        var before = journal.Health.Syncs;
        var rest = Enumerable.Range(2, 5).Select(i => journal.AppendAsync(JournalWorld.Payload(i)).AsTask()).ToArray();
        first.IsCompleted.ShouldBeFalse("nothing is acknowledged before it is durable");
        disk.SyncGate.Set();
        await first;
        await Task.WhenAll(rest);
        (journal.Health.Syncs - before).ShouldBeInRange(1, 2);
    }

    [Fact]
    public async Task Every_opening_raises_the_epoch()
    {
        for (var epoch = 1; epoch <= 5; epoch++)
        {
            await using var journal = world.Open(disk);
            journal.Epoch.ShouldBe(epoch);
        }
    }

    [Fact]
    public async Task A_second_opener_is_kept_out()
    {
        await using var journal = world.Open(disk);
        Should.Throw<JournalLockedException>(() => world.Open(disk)).Message.ShouldContain(JournalWorld.Directory);
    }

    [Fact]
    public async Task A_failed_fsync_fails_the_waiter_as_unknown_and_everything_after_it_at_once()
    {
        var journal = world.Open(disk);
        while (!disk.Paths.Any(path => path.EndsWith("/reserve", StringComparison.Ordinal))) await Task.Yield();
        disk.FailAt(1, DiskFault.Error, forever: false);
        (await Should.ThrowAsync<JournalFailedException>(() => world.Append(journal))).OutcomeUnknown.ShouldBeTrue();
        var syncs = disk.Syncs;
        (await Should.ThrowAsync<JournalFailedException>(() => world.Append(journal))).OutcomeUnknown.ShouldBeFalse();
        journal.Health.Failed.ShouldBeTrue();
        await journal.DisposeAsync();
        disk.Syncs.ShouldBe(syncs, "a failed fsync is never tried again");
    }

    [Fact]
    public async Task On_a_full_disk_low_space_shows_early_and_the_reserve_lets_work_be_finished()
    {
        var journal = world.Open(disk);
        while (!disk.Paths.Any(path => path.EndsWith("/reserve", StringComparison.Ordinal))) await Task.Yield();
        disk.FailAt(0, DiskFault.Full, forever: true);
        var early = 0;
        var error = await Should.ThrowAsync<JournalFailedException>(async () =>
        {
            while (true)
            {
                await world.Append(journal);
                if (journal.Health.LowSpace) early++;
            }
        });
        error.DiskFull.ShouldBeTrue();
        error.Message.ShouldContain("free some space");
        early.ShouldBeGreaterThan(3);
        await journal.DisposeAsync();

        // Restarting on the full disk works: opening needs no new block.
        journal = world.Open(disk);
        await journal.DisposeAsync();
        disk.Heal();
        journal = world.Open(disk);
        await world.Append(journal);
        await journal.DisposeAsync();
    }

    [Fact]
    public async Task Disk_use_stays_bounded_with_snapshots_and_drops()
    {
        await using var journal = world.Open(disk);
        for (var i = 0; i < 50; i++)
        {
            for (var n = 0; n < 10; n++) await world.Append(journal);
            await journal.SnapshotAsync(writer => writer.Write("state"u8));
            await journal.DropSegmentsBeforeAsync(long.MaxValue);
            journal.Segments.Count.ShouldBeLessThanOrEqualTo(5);
            disk.Paths.Count().ShouldBeLessThanOrEqualTo(12);
        }
    }

    [Fact]
    public async Task A_damaged_snapshot_falls_back_aloud_to_the_older_one()
    {
        var warnings = new List<string>();
        var watched = new JournalWorld { Options = new JournalOptions { SegmentBytes = 1024, ReserveBytes = 512, OnWarning = warnings.Add } };
        await watched.Live(disk);
        var newest = disk.Paths.Last(path => path.EndsWith(".snapshot", StringComparison.Ordinal));
        disk[newest][100] ^= 1;
        await using var journal = watched.Open(disk);
        warnings.ShouldHaveSingleItem().ShouldContain(newest);
    }

    [Fact]
    public async Task An_append_that_no_segment_can_hold_is_refused_and_harms_nothing()
    {
        await using var journal = world.Open(disk);
        Should.Throw<ArgumentException>(() => journal.AppendAsync(new byte[2000]));
        await world.Append(journal);
    }

    [Fact]
    public async Task A_failed_snapshot_leaves_the_journal_working()
    {
        await using var journal = world.Open(disk);
        await world.Append(journal);
        await Should.ThrowAsync<InvalidOperationException>(() => journal.SnapshotAsync(_ => throw new InvalidOperationException()));
        await world.Append(journal);
        await world.Snapshot(journal);
    }
}
