namespace Sagas.Journal;

/// <summary>
/// Files full of zeros, written ahead of need: the next segment, and a reserve that becomes a segment when the disk is
/// full. Built piece by piece between the commits of the writer's thread, so that no commit waits for a whole file.
/// </summary>
sealed class Spare(IJournalFiles files, string directory, JournalOptions options)
{
    public const string NextName = "next", ReserveName = "reserve";

    const int PieceBytes = 1 << 20;

    static readonly byte[] Zeros = new byte[PieceBytes];

    readonly string nextPath = Path.Combine(directory, NextName), reservePath = Path.Combine(directory, ReserveName);
    bool nextReady, reserveReady;
    IJournalFile? building;
    long built, failedAt;

    public volatile bool LowSpace;

    public long BytesOnDisk => (nextReady ? options.SegmentBytes : 0) + (reserveReady ? options.ReserveBytes : 0) + built;

    bool NeedsReserve => !reserveReady && options.ReserveBytes > 0;

    public bool HasWork => options.Preallocate && (!nextReady || NeedsReserve)
        && (!LowSpace || options.Time.GetElapsedTime(failedAt) >= options.SpaceRetry);

    /// <summary>Whether the next segment should be further along, given how full the current one is.</summary>
    public bool IsBehind(long used) => HasWork && !nextReady && built < 2 * used;

    public void Adopt(IReadOnlyList<string> names)
    {
        nextReady = Whole(names, NextName, nextPath, options.SegmentBytes);
        reserveReady = Whole(names, ReserveName, reservePath, options.ReserveBytes);
    }

    bool Whole(IReadOnlyList<string> names, string name, string path, long length)
    {
        if (!names.Contains(name)) return false;
        using (var file = files.Open(path, write: false))
            if (options.Preallocate && file.Length == length) return true;
        files.Delete(path);
        return false;
    }

    /// <summary>Does one piece. A disk that refuses is no failure of the journal yet: nobody's data is concerned.</summary>
    public void Step()
    {
        try
        {
            StepOrThrow();
        }
        catch (IOException)
        {
        }
    }

    /// <summary>The path of a file to become the next segment, and its length.</summary>
    public (string Path, long Capacity) Take()
    {
        try
        {
            while (!nextReady) StepOrThrow();
            nextReady = false;
            return (nextPath, options.SegmentBytes);
        }
        catch (IOException error) when (reserveReady && DiskErrors.IsFull(error))
        {
            reserveReady = false;
            return (reservePath, options.ReserveBytes);
        }
    }

    /// <summary>Space was freed: try again at once.</summary>
    public void Hope() => failedAt = 0;

    public void Abandon() => building?.Dispose();

    void StepOrThrow()
    {
        var (path, length) = nextReady ? (reservePath, options.ReserveBytes) : (nextPath, options.SegmentBytes);
        try
        {
            building ??= files.Create(path + ".tmp");
            var piece = (int)Math.Min(PieceBytes, length - built);
            building.Write(built, Zeros.AsSpan(0, piece));
            building.Sync();
            built += piece;
            if (built < length) return;
            building.Dispose();
            files.Rename(path + ".tmp", path);
            if (nextReady) reserveReady = true;
            else nextReady = true;
            (building, built) = (null, 0);
            LowSpace = false;
        }
        catch (IOException)
        {
            LowSpace = true;
            failedAt = options.Time.GetTimestamp();
            building?.Dispose();
            (building, built) = (null, 0);
            try
            {
                files.Delete(path + ".tmp");
            }
            catch (IOException)
            {
                // The next attempt writes over it.
            }

            throw;
        }
    }
}
