using System.Security.Cryptography;

namespace Sagas.Journal;

/// <summary>
/// Opening: look (and refuse if need be) first, replay, and only then change the directory: cut the torn tail, raise the
/// epoch, sweep up after interrupted work.
/// </summary>
static class Recovery
{
    public static (SegmentSet Segments, List<long> Snapshots) Run(
        IJournalFiles files, string directory, JournalOptions options, Action<JournalRecord> replay)
    {
        var inventory = Inventory.Read(files, directory, options.OnWarning);
        if (inventory is null)
        {
            Manifest.Create(files, directory, new Manifest(BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8)), 0, 0, 1, 0));
            inventory = Inventory.Read(files, directory, options.OnWarning)!;
        }

        inventory.ReadHeaders();
        var snapshots = IntactSnapshots(inventory, options.OnWarning);
        var start = snapshots.Count > 0 ? snapshots[^1] : inventory.Manifest.First;
        if (snapshots.Count == 0 && inventory.Manifest.First > 1)
            throw new JournalCorruptException(Path.Combine(directory, Manifest.Name), 0,
                $"segments before {start} were dropped and no snapshot that stands for them is intact",
                "Restore the directory from a backup. Nothing was changed.");
        if (snapshots.Count > 0) inventory.ReplaySnapshot(start, replay);
        var (last, scan, bytes) = (0L, default(SegmentScan), ReadOnlyMemory<byte>.Empty);
        var epoch = inventory.Manifest.Epoch;
        for (var id = start; id <= inventory.Last; id++)
        {
            (last, scan) = (id, inventory.Scan(id, replay, out bytes));
            epoch = Math.Max(epoch, scan.Epoch);
        }

        var ended = new SortedList<long, long>();
        for (var id = inventory.Manifest.First; id < inventory.Last; id++) ended[id] = inventory.Headers[id + 1].PreviousEnd;
        var segments = new SegmentSet(files, directory, options, inventory.Manifest, ended);
        try
        {
            // What this process sees may be in the cache only: make it durable before anything builds on it.
            files.SyncDirectory(directory);
            foreach (var name in inventory.Leftovers) files.Delete(Path.Combine(directory, name));
            segments.Spare.Adopt(files.List(directory));
            if (last > 0) segments.Continue(last, scan, bytes.Span, options.OnTornTail);
            else
            {
                segments.Sequence = 1;
                segments.Rotate();
            }

            segments.RaiseEpoch(epoch + 1);
            return (segments, snapshots);
        }
        catch
        {
            segments.Dispose();
            throw;
        }
    }

    static List<long> IntactSnapshots(Inventory inventory, Action<string>? warn)
    {
        var intact = new List<long>();
        foreach (var point in inventory.SnapshotPoints)
        {
            try
            {
                inventory.CheckSnapshot(point);
                intact.Add(point);
            }
            catch (JournalCorruptException error)
            {
                warn?.Invoke($"A snapshot is not used: {error.Message}");
            }
        }

        return intact;
    }
}
