using Sagas.Testing.Simulator;
using Sagas.Journal;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Journal;

public sealed class JournalDamageTests
{
    const string SecondSegment = JournalWorld.Directory + "/000000000002.segment";

    /// <summary>Two segments; the process dies after its last acknowledged append, so that nothing proves that one.</summary>
    static async Task<(SimulatedDisk Disk, JournalWorld World)> Crashed(bool preallocate = true)
    {
        var disk = new SimulatedDisk();
        var world = new JournalWorld { Options = new JournalOptions { SegmentBytes = 512, ReserveBytes = 0, Preallocate = preallocate } };
        var journal = world.Open(disk);
        while (world.Tried < 8 || journal.Segments.Count < 2) await world.Append(journal);
        await world.Append(journal, 2);
        while (preallocate && !disk.Paths.Any(path => path.EndsWith("/next", StringComparison.Ordinal))) await Task.Yield();
        var dead = disk.Clone();
        await journal.DisposeAsync();
        return (dead, world);
    }

    static (long Count, bool Torn) Open(SimulatedDisk disk, bool preallocate = true)
    {
        long count = 0;
        var torn = false;
        var options = new JournalOptions { SegmentBytes = 512, ReserveBytes = 0, Preallocate = preallocate, OnTornTail = _ => torn = true };
        var journal = SegmentedJournal.Open(JournalWorld.Directory, options, record => JournalWorld.Number(record.Payload.Span).ShouldBe(++count), disk);
        journal.DisposeAsync().AsTask().Wait();
        return (count, torn);
    }

    [Theory]
    [InlineData(0x01)]
    [InlineData(0x80)]
    [InlineData(0xFF)]
    public async Task No_flipped_byte_is_served_wrong_or_silently_cuts_what_was_proven(byte mask)
    {
        var (disk, world) = await Crashed();
        var lastCall = world.Positions[^2];
        lastCall.Segment.ShouldBe(2);
        var (refused, cut, harmless) = (0, 0, 0);
        foreach (var path in disk.Paths.Where(path => !path.EndsWith("/next", StringComparison.Ordinal)))
            for (var at = 0; at < disk[path].Length; at++)
            {
                // All but the slots of the manifest is zeros that nobody reads.
                if (path.EndsWith("/manifest", StringComparison.Ordinal) && at % Manifest.SlotStride > 64) continue;
                var damaged = disk.Clone();
                damaged[path][at] ^= mask;
                var before = damaged.Clone();
                var inLastCall = path == SecondSegment && at >= lastCall.Offset;
                try
                {
                    var (count, torn) = Open(damaged);
                    if (count == world.Acknowledged) harmless++;
                    else
                    {
                        inLastCall.ShouldBeTrue($"byte {at} of {path} cut the journal to {count}");
                        count.ShouldBe(world.Acknowledged - 2);
                        torn.ShouldBeTrue();
                        cut++;
                    }
                }
                catch (IOException error) when (error is JournalCorruptException or JournalVersionException)
                {
                    inLastCall.ShouldBeFalse($"byte {at} of {path}: {error.Message}");
                    foreach (var file in before.Paths) damaged[file].AsSpan().SequenceEqual(before[file]).ShouldBeTrue("a refusal changes nothing");
                    refused++;
                }
            }

        refused.ShouldBeGreaterThan(400);
        cut.ShouldBeGreaterThan(50);
        harmless.ShouldBeGreaterThan(50);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_torn_last_record_is_cut_and_everything_before_it_is_there(bool preallocate)
    {
        var (disk, world) = await Crashed(preallocate);
        var last = world.Positions[^1];
        var end = (int)(last.Offset + Format.FrameBytes(last.Length));
        for (var at = (int)world.Positions[^2].Offset; at < end; at++)
        {
            var torn = disk.Clone();
            if (preallocate) torn[SecondSegment].AsSpan(at).Clear();
            else torn[SecondSegment] = torn[SecondSegment][..at];
            // A payload may end in the zeros that the cut leaves.
            var whole = torn[SecondSegment].AsSpan().TrimEnd((byte)0).SequenceEqual(disk[SecondSegment].AsSpan().TrimEnd((byte)0));
            Open(torn, preallocate).Count.ShouldBe(world.Acknowledged - (whole && preallocate ? 0 : 2), $"cut at {at}");
            Open(torn, preallocate).Torn.ShouldBeFalse("the cut is made once");
        }
    }

    [Fact]
    public async Task Garbage_after_the_last_record_is_cut_and_reported()
    {
        var (disk, world) = await Crashed();
        disk[SecondSegment][^5] = 7;
        Open(disk).ShouldBe((world.Acknowledged, true));
        disk[SecondSegment][^5].ShouldBe((byte)0);
    }

    [Fact]
    public async Task A_preallocated_segment_that_became_shorter_is_refused()
    {
        var (disk, _) = await Crashed();
        disk[SecondSegment] = disk[SecondSegment][..^1];
        Should.Throw<JournalCorruptException>(() => Open(disk)).What.ShouldContain("cut short");
    }

    [Fact]
    public async Task A_missing_file_is_refused()
    {
        foreach (var name in new[] { "000000000001.segment", "000000000002.segment", "manifest" })
        {
            var (disk, _) = await Crashed();
            disk.Remove(JournalWorld.Directory + "/" + name);
            var error = Should.Throw<JournalCorruptException>(() => Open(disk));
            error.File.ShouldBe(JournalWorld.Directory + "/" + name);
            error.What.ShouldContain("missing");
            JournalReader.Verify(JournalWorld.Directory, files: disk).Faults.ShouldHaveSingleItem().Fatal.ShouldBeTrue();
        }
    }

    [Fact]
    public async Task Verify_counts_what_is_there_and_names_what_is_damaged()
    {
        var (disk, world) = await Crashed();
        var report = JournalReader.Verify(JournalWorld.Directory, files: disk);
        (report.Segments, report.Records, report.Faults.Count).ShouldBe((2, world.Acknowledged, 0));
        var at = world.Positions[1].Offset + Format.RecordHeaderBytes;
        disk[JournalWorld.Directory + "/000000000001.segment"][(int)at] ^= 1;
        var fault = JournalReader.Verify(JournalWorld.Directory, files: disk).Faults.ShouldHaveSingleItem();
        (fault.Offset, fault.Fatal).ShouldBe((world.Positions[1].Offset, true));
    }

    [Fact]
    public async Task Another_format_version_is_refused_by_name()
    {
        var (disk, _) = await Crashed();
        var header = disk[SecondSegment].AsSpan(0, Format.SegmentHeaderBytes);
        header[8] = 9;
        BitConverter.TryWriteBytes(header[60..], Format.Crc(header[..60]));
        Should.Throw<JournalVersionException>(() => Open(disk)).Version.ShouldBe(9);
    }
}
