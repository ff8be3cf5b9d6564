namespace Sagas.Journal;

/// <summary>Something wrong in a journal's directory.</summary>
/// <param name="File">Path of the file.</param>
/// <param name="Offset">Where in it.</param>
/// <param name="What">What is wrong.</param>
/// <param name="Fatal">Whether the journal refuses to open because of it.</param>
public sealed record JournalFault(string File, long Offset, string What, bool Fatal);

/// <summary>What a journal's directory holds.</summary>
/// <param name="Segments">How many segments there are.</param>
/// <param name="Records">How many records were appended and are still there.</param>
/// <param name="Bytes">Bytes the records take, headers included.</param>
/// <param name="Snapshots">How many snapshots are intact.</param>
/// <param name="Faults">What is wrong.</param>
public sealed record JournalReport(int Segments, long Records, long Bytes, int Snapshots, IReadOnlyList<JournalFault> Faults);

/// <summary>Looks into a journal that nobody has open, and changes nothing.</summary>
public static class JournalReader
{
    /// <summary>Checks every byte of the journal, including the segments opening does not read.</summary>
    /// <param name="directory">The journal's directory.</param>
    /// <param name="each">Called with every appended record. Null: they are only checked.</param>
    /// <param name="files">The file system; null is the machine's.</param>
    public static JournalReport Verify(string directory, Action<JournalRecord>? each = null, IJournalFiles? files = null)
    {
        var faults = new List<JournalFault>();
        var (segments, records, bytes, snapshots) = (0, 0L, 0L, 0);
        Inventory? inventory = null;
        Try(fatal: true, () => inventory = Inventory.Read(files ?? new RealFiles(), directory,
            warning => faults.Add(new JournalFault(Path.Combine(directory, Manifest.Name), 0, warning, false))));
        if (inventory is not null)
        {
            for (var id = inventory.Manifest.First; id <= inventory.Last; id++)
                Try(fatal: true, () => inventory.ReadHeader(id));
            foreach (var id in inventory.Headers.Keys.Order())
            {
                segments++;
                Try(fatal: true, () =>
                {
                    var scan = inventory.Scan(id, each, out _);
                    records += scan.Records;
                    bytes += scan.End - Format.SegmentHeaderBytes;
                    if (scan.GarbageEnd > scan.End)
                        faults.Add(new JournalFault(inventory.SegmentPath(id), scan.End, "an unfinished last write, which opening cuts off", false));
                });
            }

            foreach (var point in inventory.SnapshotPoints)
                Try(fatal: false, () =>
                {
                    inventory.CheckSnapshot(point);
                    snapshots++;
                });
        }

        return new JournalReport(segments, records, bytes, snapshots, faults);

        void Try(bool fatal, Action check)
        {
            try
            {
                check();
            }
            catch (JournalCorruptException error)
            {
                faults.Add(new JournalFault(error.File, error.Offset, error.What, fatal));
            }
            catch (JournalVersionException error)
            {
                faults.Add(new JournalFault(error.File, 0, error.Message, true));
            }
        }
    }
}
