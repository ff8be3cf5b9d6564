using System.Globalization;
using System.Text;
using Sagas.Journal;
using Shouldly;

namespace Sagas.Tests.Journal;

/// <summary>
/// A caller of the journal that appends the numbers 1, 2, 3, ... and knows which it may find again: after any crash the
/// journal must hold an unbroken run of them that reaches at least as far as was acknowledged, no further than was
/// tried, and ends at the end of a call.
/// </summary>
sealed class JournalWorld
{
    public const string Directory = "/data/journal";

    readonly HashSet<long> callEnds = [0];

    public JournalOptions Options { get; init; } = new() { SegmentBytes = 1024, ReserveBytes = 512 };

    public long Tried { get; private set; }

    public long Acknowledged { get; private set; }

    public long Recovered { get; private set; }

    public List<JournalPosition> Positions { get; } = [];

    public static byte[] Payload(long number)
    {
        var random = new Random((int)number);
        var rest = new byte[random.Next(40)];
        random.NextBytes(rest);
        return [.. Encoding.ASCII.GetBytes(number.ToString("D10", CultureInfo.InvariantCulture)), .. rest];
    }

    public static long Number(ReadOnlySpan<byte> payload)
    {
        var number = long.Parse(payload[..10], CultureInfo.InvariantCulture);
        if (!payload.SequenceEqual(Payload(number))) throw new ShouldAssertException($"record {number} was served wrong");
        return number;
    }

    /// <summary>Opens, and checks what it finds against what the world knows.</summary>
    public SegmentedJournal Open(IJournalFiles disk, string story = "")
    {
        var found = new SortedSet<long>();
        long lastAppended = 0;
        var journal = SegmentedJournal.Open(Directory, Options, record =>
        {
            var number = Number(record.Payload.Span);
            if (!record.FromSnapshot)
            {
                if (lastAppended > 0 && number != lastAppended + 1) throw new ShouldAssertException($"{story}: {number} came after {lastAppended}");
                lastAppended = number;
            }

            found.Add(number);
        }, disk);
        var last = found.Count == 0 ? 0 : found.Max;
        found.Count.ShouldBe((int)last, $"{story}: the numbers are not an unbroken run");
        last.ShouldBeInRange(Acknowledged, Tried, story);
        callEnds.ShouldContain(last, $"{story}: part of a call was recovered");
        Tried = Acknowledged = Recovered = last;
        callEnds.RemoveWhere(end => end > last);
        return journal;
    }

    public async Task Append(SegmentedJournal journal, int count = 1, bool sync = true)
    {
        var numbers = Enumerable.Range(1, count).Select(i => Tried + i).ToArray();
        var before = Tried;
        Tried += count;
        callEnds.Add(Tried);
        try
        {
            if (count == 1) Positions.Add(await journal.AppendAsync(Payload(numbers[0]), sync));
            else Positions.AddRange(await journal.AppendAsync([.. numbers.Select(number => (ReadOnlyMemory<byte>)Payload(number))], sync));
            if (sync) Acknowledged = Tried;
        }
        catch (JournalFailedException error) when (!error.OutcomeUnknown)
        {
            callEnds.Remove(Tried);
            Tried = before;
            callEnds.Add(Tried);
            throw;
        }
    }

    public Task Snapshot(SegmentedJournal journal)
    {
        var state = Tried;
        return journal.SnapshotAsync(writer =>
        {
            for (long number = 1; number <= state; number++) writer.Write(Payload(number));
        });
    }

    /// <summary>Appends, rotates, takes snapshots and drops; stops at the first refusal.</summary>
    public async Task Live(IJournalFiles disk)
    {
        SegmentedJournal? journal = null;
        try
        {
            journal = Open(disk);
            for (var round = 0; round < 3; round++)
            {
                await Append(journal);
                await Append(journal, 3);
                await Append(journal, sync: false);
                await Append(journal);
                try
                {
                    await Snapshot(journal);
                    await journal.DropSegmentsBeforeAsync(long.MaxValue);
                }
                catch (IOException) when (!journal.Health.Failed)
                {
                }

                await Append(journal, 5);
                await Append(journal, 4);
            }
        }
        catch (IOException)
        {
        }
        finally
        {
            if (journal is not null) await journal.DisposeAsync();
        }
    }
}
