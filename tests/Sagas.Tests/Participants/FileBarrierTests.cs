using Microsoft.Extensions.Logging.Abstractions;
using Sagas.Journal;
using Sagas.Participants;
using Sagas.Testing.Simulator;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Participants;

public sealed class FileBarrierTests : BarrierContract, IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("sagas-barrier-").FullName;
    private int _directories;

    private protected override Task<Desk> OpenAsync() => Desk.OpenAsync(p => p.UseFileBarrier(NewDirectory()));

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public async Task What_was_answered_outlives_the_process()
    {
        var directory = NewDirectory();
        await using (var desk = await Desk.OpenAsync(p => p.UseFileBarrier(directory)))
        {
            (await desk.TryAsync()).ShouldBeOk();
            (await desk.CompensateAsync()).ShouldBeOk();
        }
        await using var again = await Desk.OpenAsync(p => p.UseFileBarrier(directory));
        (await again.TryAsync(attempt: 2)).ShouldBeOk("""{"id":"12A"}""");
        (await again.DoAsync()).ShouldBe(Outcome.Refused, "cancelled");
        (await again.ConfirmAsync("null")).ShouldBeOk();
        again.ShouldHaveCalled("confirm LH1 12A");
    }

    [Fact]
    public async Task A_try_that_crashed_midway_is_cancelled_without_its_result()
    {
        var directory = NewDirectory();
        await using var crashed = await CrashMidwayAsync(directory, desk => desk.TryAsync());
        await using var desk = await Desk.OpenAsync(p => p.UseFileBarrier(Copy(directory)));
        (await desk.CancelAsync()).ShouldBeOk();
        (await desk.TryAsync(attempt: 2)).ShouldBe(Outcome.Refused, "cancelled");
        desk.ShouldHaveCalled("cancel LH1 unknown");
    }

    [Fact]
    public async Task A_do_that_crashed_midway_is_asked_again_when_its_result_is_wanted()
    {
        var directory = NewDirectory();
        await using var crashed = await CrashMidwayAsync(directory, desk => desk.DoAsync());
        await using var desk = await Desk.OpenAsync(p => p.UseFileBarrier(Copy(directory)));
        (await desk.CompensateAsync("null")).ShouldBeOk("""{"id":"h1"}""", Phase.Do);
        desk.ShouldHaveCalled("hold 7");
    }

    [Fact]
    public async Task A_do_of_which_nothing_is_known_is_not_done_again_once_its_compensation_has_begun()
    {
        var directory = NewDirectory();
        await using var crashed = await CrashMidwayAsync(directory, desk => desk.DoAsync());
        await using var desk = await Desk.OpenAsync(p => p.UseFileBarrier(Copy(directory)));
        desk.Agent.Undo = _ => Task.FromException(new IOException("Disk on fire."));
        (await desk.CompensateAsync()).ShouldBe(Outcome.Error, "IOException");
        (await desk.CompensateAsync("null")).ShouldBe(Outcome.Error, "result-unknown");
        desk.ShouldHaveCalled("release h1");
    }

    [Fact]
    public async Task A_confirm_that_crashed_midway_keeps_the_cancel_out()
    {
        var directory = NewDirectory();
        await using var crashed = await CrashMidwayAsync(directory, async desk =>
        {
            await desk.TryAsync();
            return await desk.ConfirmAsync();
        }, inTry: false);
        await using var desk = await Desk.OpenAsync(p => p.UseFileBarrier(Copy(directory)));
        (await desk.CancelAsync()).ShouldBe(Outcome.Error, "already-confirmed");
        (await desk.ConfirmAsync()).ShouldBeOk();
        desk.ShouldHaveCalled("confirm LH1 12A");
    }

    [Fact]
    public async Task After_a_refusal_that_could_not_be_noted_the_handler_is_not_called_again_until_a_note_can_be_made()
    {
        var disk = new SimulatedDisk();
        void OnDisk(ParticipantsBuilder p) => p.UseBarrier(_ => new FileBarrier("barrier", TimeSpan.FromDays(1), TimeProvider.System, NullLogger.Instance, new JournalOptions { SegmentBytes = 64 << 10, ReserveBytes = 0 }, disk));
        await using (var desk = await Desk.OpenAsync(OnDisk))
        {
            desk.Agent.Try = (_, _) =>
            {
                // The note of the refusal is written, and whether it is durable the disk does not say.
                disk.Ask = (call, _) => call == DiskCall.Sync ? (DiskFault.Error, new IOException("The disk says no.")) : null;
                return Task.FromException<Seat>(new RefusedException("sold-out", "No seat is left."));
            };
            (await desk.TryAsync()).Outcome.ShouldBe(Outcome.Error);
            disk.Ask = null;
            // It would take effect, and after a crash the refusal would be read.
            desk.Agent.Try = (_, _) => Task.FromException<Seat>(new TimeoutException("A seat was taken, and the answer is lost."));
            (await desk.TryAsync(attempt: 2)).Outcome.ShouldBe(Outcome.Error);
            desk.ShouldHaveCalled("try LH1");
            disk = disk.Clone();
        }
        await using var again = await Desk.OpenAsync(OnDisk);
        (await again.TryAsync(attempt: 3)).ShouldBe(Outcome.Refused, "sold-out");
        (await again.CancelAsync()).ShouldBeOk();
        again.ShouldHaveCalled();
    }

    [Fact]
    public async Task A_row_reads_as_it_was_written()
    {
        var row = new BarrierRow("saga-ä", "step")
        {
            Forward = BarrierForward.Refused,
            IsDo = true,
            InDoubt = true,
            Command = "hold-money",
            CommandPayload = Payload.Parse("""{"a":"ü"}"""),
            Result = Payload.Parse("[1]"),
            Code = "no",
            Message = "Nö.",
            Second = Phase.Compensate,
            SecondDone = true,
            SecondResult = Payload.Null,
            At = new DateTimeOffset(2030, 1, 2, 3, 4, 5, TimeSpan.Zero),
        };
        BarrierRowFormat.Read(BarrierRowFormat.Write(row)).ShouldBe(row);
        var bare = new BarrierRow("s", "t") { At = row.At };
        BarrierRowFormat.Read(BarrierRowFormat.Write(bare)).ShouldBe(bare);
        await Task.CompletedTask;
    }

    [Fact]
    public async Task Compaction_keeps_live_rows_forgets_old_ones_and_gives_space_back()
    {
        var directory = NewDirectory();
        var clock = new Clock();
        FileBarrier Barrier() => new(directory, TimeSpan.FromDays(1), clock, NullLogger.Instance,
            new JournalOptions { SegmentBytes = 64 << 10, ReserveBytes = 0 })
        { LeastGrowth = 32 << 10 };

        await using (var barrier = Barrier())
        {
            await barrier.OpenAsync(default);
            await barrier.WriteAsync(new BarrierRow("live", "seat") { Forward = BarrierForward.Ok, Result = Payload.Parse("1"), At = clock.Now }, default);
            for (var round = 0; round < 20; round++)
            {
                clock.Now += TimeSpan.FromHours(12);
                await Task.WhenAll(Enumerable.Range(0, 500).Select(i => barrier.WriteAsync(
                    new BarrierRow($"old-{round}-{i}", "seat") { Second = Phase.Cancel, SecondDone = true, At = clock.Now }, default).AsTask()));
                await barrier.Compaction;
            }
            Directory.GetFiles(directory, "*.segment").Sum(f => new FileInfo(f).Length).ShouldBeLessThan(600 << 10);
        }

        await using var again = Barrier();
        await again.OpenAsync(default);
        again.Count.ShouldBe(2 * 500 + 1);
        (await again.FindAsync("live", "seat", default))!.Result!.ToString().ShouldBe("1");
        (await again.FindAsync("old-0-0", "seat", default)).ShouldBeNull();
        (await again.FindAsync("old-19-0", "seat", default)).ShouldNotBeNull();
    }

    /// <summary>A desk whose handlers stop in the middle of the last call, with the row that they began on the disk.</summary>
    private static async Task<Desk> CrashMidwayAsync(string directory, Func<Desk, Task<ReplyItem>> ask, bool inTry = true)
    {
        var agent = new Agent();
        var desk = await Desk.OpenAsync(p => p.UseFileBarrier(directory), agent);
        var midway = new TaskCompletionSource();
        agent.Do = _ => Hang<Hold>();
        agent.Confirm = _ => Hang<Hold>();
        if (inTry) agent.Try = (_, _) => Hang<Seat>();
        _ = ask(desk);
        await midway.Task;
        return desk;

        Task<T> Hang<T>()
        {
            midway.TrySetResult();
            return new TaskCompletionSource<T>().Task;
        }
    }

    private string NewDirectory() => Path.Combine(_root, Interlocked.Increment(ref _directories).ToString());

    /// <summary>The files as a crash would leave them: nobody closed the journal. One that is still being prepared in the background may vanish under the copy.</summary>
    private string Copy(string directory)
    {
        var copy = Directory.CreateDirectory(NewDirectory()).FullName;
        foreach (var file in Directory.GetFiles(directory).Where(f => Path.GetFileName(f) is not "lock" && !f.EndsWith(".tmp", StringComparison.Ordinal)))
            File.Copy(file, Path.Combine(copy, Path.GetFileName(file)));
        return copy;
    }
}
