using Sagas.Testing.Simulator;
using Sagas.Journal;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Journal;

public sealed class JournalCrashTests
{
    [Theory]
    [InlineData(DiskFault.Error, false)]
    [InlineData(DiskFault.Error, true)]
    [InlineData(DiskFault.ShortWrite, false)]
    [InlineData(DiskFault.ShortWrite, true)]
    [InlineData(DiskFault.Full, false)]
    [InlineData(DiskFault.Full, true)]
    public async Task Whichever_call_to_the_disk_fails_nothing_acknowledged_is_lost(DiskFault fault, bool forever)
    {
        for (var call = 0; ; call++)
        {
            var disk = new SimulatedDisk();
            var world = new JournalWorld();
            disk.FailAt(call, fault, forever);
            await world.Live(disk);
            var hit = disk.FaultHit;
            disk.KillProcess();
            var story = $"{fault} at call {call}, forever: {forever}";
            if (call % 2 == 0)
            {
                // First a restart that still sees the cache, then the power goes.
                await world.Open(disk, story + ", restart").DisposeAsync();
                disk.KillProcess();
            }

            disk = disk.AfterPowerCut(new Random(call));
            var journal = world.Open(disk, story + ", power cut");
            await world.Append(journal);
            await world.Snapshot(journal);
            await journal.DisposeAsync();
            await world.Open(disk, story + ", afterwards").DisposeAsync();
            JournalReader.Verify(JournalWorld.Directory, files: disk).Faults.ShouldNotContain(found => found.Fatal, story);
            if (!hit) break;
        }
    }

    [Fact]
    public async Task A_crash_while_recovering_from_a_crash_loses_nothing_either()
    {
        for (var call = 0; call < 120; call += 7)
            for (var second = 0; ; second++)
            {
                var disk = new SimulatedDisk();
                var world = new JournalWorld();
                disk.FailAt(call, DiskFault.ShortWrite, forever: true);
                await world.Live(disk);
                disk = disk.AfterPowerCut(new Random(call));
                disk.FailAt(second, DiskFault.ShortWrite, forever: true);
                var story = $"crash at call {call}, then at call {second}";
                var opened = false;
                try
                {
                    await world.Open(disk, story).DisposeAsync();
                    opened = true;
                }
                catch (IOException error)
                {
                    error.ShouldNotBeOfType<JournalCorruptException>(story);
                }

                disk = disk.AfterPowerCut(new Random(second));
                await world.Open(disk, story + ", at last").DisposeAsync();
                if (opened) break;
            }
    }

    [Fact]
    public async Task Random_work_with_random_power_cuts_keeps_the_promise()
    {
        var first = Random.Shared.Next();
        for (var seed = first; seed < first + 60; seed++)
        {
            var random = new Random(seed);
            var disk = new SimulatedDisk();
            var world = new JournalWorld();
            for (var life = 0; life < 6; life++)
            {
                var story = $"seed {seed}, life {life}";
                var journal = world.Open(disk, story);
                if (random.Next(3) > 0) disk.FailAt(random.Next(60), (DiskFault)random.Next(3), forever: random.Next(2) == 0);
                try
                {
                    for (var step = random.Next(25); step > 0; step--)
                        await (random.Next(8) switch
                        {
                            0 => world.Snapshot(journal),
                            1 => journal.DropSegmentsBeforeAsync(random.Next(40)),
                            _ => world.Append(journal, 1 + random.Next(4), sync: random.Next(5) > 0),
                        });
                }
                catch (IOException)
                {
                }

                // The power goes while the process still runs, or the process dies, or it ends well.
                var how = random.Next(3);
                if (how == 0)
                {
                    var after = disk.AfterPowerCut(random);
                    await journal.DisposeAsync();
                    disk = after;
                    continue;
                }

                await journal.DisposeAsync();
                disk.KillProcess();
                if (how == 1) disk = disk.AfterPowerCut(random);
            }
        }
    }
}
