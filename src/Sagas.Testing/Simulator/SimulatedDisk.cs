using Sagas.Journal;

namespace Sagas.Testing.Simulator;

/// <summary>How the disk refuses.</summary>
public enum DiskFault
{
    /// <summary>Every kind of call fails with an input/output error.</summary>
    Error,

    /// <summary>A write puts half of its bytes down before it fails.</summary>
    ShortWrite,

    /// <summary>Only what needs new space fails.</summary>
    Full,
}

/// <summary>What is asked of a disk.</summary>
internal enum DiskCall
{
    Create,
    Write,
    SetLength,
    Sync,
    Rename,
    Delete,
    SyncDirectory,
}

/// <summary>
/// A disk in memory that forgets at a power cut what was not synced: sectors of a file land one by one, in any order or
/// never; so do changes of the directory, or in order up to some point. A failed sync behaves as on Linux: the bytes stay
/// visible, count as clean, and never reach the disk unless they are written again.
/// </summary>
internal sealed class SimulatedDisk : IJournalFiles
{
    const int Sector = 64;

    sealed class Inode(string path)
    {
        public string Path = path;
        public Content Seen = new([]);
        public Content Durable = new([]);
        public readonly List<(long Offset, byte[]? Bytes)> Pending = [];
    }

    /// <summary>A file's bytes, with room to grow, because files grow by a record at a time.</summary>
    sealed class Content(byte[] bytes)
    {
        byte[] bytes = bytes;

        public int Length { get; private set; } = bytes.Length;

        /// <summary>The bytes, without room behind them.</summary>
        public byte[] Bytes
        {
            get
            {
                if (bytes.Length > Length) Array.Resize(ref bytes, Length);
                return bytes;
            }
        }

        public Span<byte> From(long offset) => bytes.AsSpan((int)offset, Length - (int)offset);

        public Content Copy() => new([.. bytes.AsSpan(0, Length)]);

        public void SetLength(long length)
        {
            if (length > bytes.Length) Array.Resize(ref bytes, (int)Math.Max(length, Math.Min(2L * bytes.Length, bytes.Length + (1 << 20))));
            else if (length < Length) bytes.AsSpan((int)length, Length - (int)length).Clear();
            Length = (int)length;
        }

        public void Write(long offset, ReadOnlySpan<byte> from)
        {
            if (Length < offset + from.Length) SetLength(offset + from.Length);
            from.CopyTo(From(offset));
        }
    }

    readonly Lock gate = new();
    readonly Dictionary<string, Inode> seen = [], durable = [];
    readonly List<(string? Removed, string? Added, Inode? Inode)> pendingEntries = [];
    readonly HashSet<string> locked = [];
    int failAt = -1;
    bool failForever;
    DiskFault fault;

    /// <summary>Calls that change something, so far.</summary>
    public int Calls { get; private set; }

    public int Syncs { get; private set; }

    /// <summary>Asked at every call that changes something; says how it fails, and with what error. Null: it succeeds.</summary>
    public Func<DiskCall, string, (DiskFault Fault, Exception Error)?>? Ask { get; set; }

    public bool FaultHit { get; private set; }

    /// <summary>Holds every sync until it is set again.</summary>
    public ManualResetEventSlim SyncGate { get; } = new(true);

    public IEnumerable<string> Paths { get { lock (gate) return [.. seen.Keys.Order()]; } }

    public void FailAt(int call, DiskFault kind, bool forever)
    {
        lock (gate) (failAt, fault, failForever, FaultHit) = (Calls + call, kind, forever, false);
    }

    public void Heal()
    {
        lock (gate) failAt = -1;
    }

    /// <summary>The process dies: its locks go, what it wrote stays visible.</summary>
    public void KillProcess()
    {
        lock (gate)
        {
            locked.Clear();
            failAt = -1;
        }
    }

    /// <summary>What is left after the power went, with luck decided by the random numbers.</summary>
    /// <param name="random">Luck.</param>
    /// <param name="losesWrites">Whether writes that were not synced may be lost.</param>
    /// <param name="losesEntries">Whether changes of the directory that were not synced may be lost.</param>
    public SimulatedDisk AfterPowerCut(Random random, bool losesWrites = true, bool losesEntries = true)
    {
        lock (gate)
        {
            var entries = new Dictionary<string, Inode>(losesEntries ? durable : seen);
            var inOrder = random.Next(2) == 0;
            var landed = random.Next(pendingEntries.Count + 1);
            for (var i = 0; losesEntries && i < pendingEntries.Count; i++)
            {
                if (inOrder ? i >= landed : random.Next(2) == 0) continue;
                var (removed, added, inode) = pendingEntries[i];
                if (removed is not null) entries.Remove(removed);
                if (added is not null) entries[added] = inode!;
            }

            var after = new SimulatedDisk();
            foreach (var (path, inode) in entries) after.Put(path, Land(inode.Durable.Copy(), inode.Pending, losesWrites ? random : null));
            return after;
        }
    }

    public SimulatedDisk Clone()
    {
        var clone = new SimulatedDisk();
        lock (gate)
            foreach (var (path, inode) in seen) clone.Put(path, inode.Seen.Copy());
        return clone;
    }

    public byte[] this[string path]
    {
        get { lock (gate) return seen[path].Seen.Bytes; }
        set { lock (gate) Put(path, new Content(value)); }
    }

    public void Remove(string path)
    {
        lock (gate)
        {
            seen.Remove(path);
            durable.Remove(path);
        }
    }

    /// <summary>Makes the last record in the directory unreadable, as nothing but a mutant does.</summary>
    public void CutEnd(string directory)
    {
        lock (gate)
        {
            var last = seen.Where(file => Path.GetDirectoryName(file.Key) == directory && file.Key.EndsWith(".segment", StringComparison.Ordinal)).OrderBy(file => file.Key, StringComparer.Ordinal).LastOrDefault();
            if (last.Key is null) return;
            var end = last.Value.Seen.Bytes.AsSpan().LastIndexOfAnyExcept((byte)0);
            if (end > 200) last.Value.Seen.From(end - 8).Clear();
        }
    }

    void Put(string path, Content content) => seen[path] = durable[path] = new Inode(path) { Seen = content, Durable = content.Copy() };

    /// <summary>What is on the disk when the pending writes land as luck will have it; all of them without luck.</summary>
    static Content Land(Content content, List<(long Offset, byte[]? Bytes)> pending, Random? random)
    {
        foreach (var (offset, written) in pending)
        {
            var luck = random?.Next(4) ?? 3;
            if (written is null)
            {
                if (luck >= 2) content.SetLength(offset);
                continue;
            }

            if (luck == 3) content.Write(offset, written);
            for (var at = 0; luck is 1 or 2 && at < written.Length;)
            {
                var end = (int)Math.Min(written.Length, (offset + at) / Sector * Sector + Sector - offset);
                if (random!.Next(2) == 0) content.Write(offset + at, written.AsSpan(at, end - at));
                at = end;
            }
        }

        return content;
    }

    /// <summary>How the call fails; null: it does not.</summary>
    (DiskFault Fault, Exception Error)? Fails(DiskCall call, string path, bool needsSpace = false)
    {
        var number = Calls++;
        if (failAt >= 0 && number >= failAt && (fault != DiskFault.Full || needsSpace))
        {
            FaultHit = true;
            if (!failForever) failAt = -1;
            return (fault, Refusal(fault));
        }

        return Ask?.Invoke(call, path) is { } answer && (answer.Fault != DiskFault.Full || needsSpace) ? answer : null;
    }

    /// <summary>What a program is told.</summary>
    public static IOException Refusal(DiskFault fault) => fault == DiskFault.Full
        ? new IOException("No space left on device.", 28)
        : new IOException("Input/output error.", 5);

    void Step(DiskCall call, string path, bool needsSpace = false)
    {
        if (Fails(call, path, needsSpace) is { } failure) throw failure.Error;
    }

    public void CreateDirectory(string directory)
    {
    }

    public IDisposable Lock(string path)
    {
        lock (gate)
        {
            if (!locked.Add(path)) throw new IOException("Locked.");
            return new Unlock(this, path);
        }
    }

    sealed class Unlock(SimulatedDisk disk, string path) : IDisposable
    {
        public void Dispose()
        {
            lock (disk.gate) disk.locked.Remove(path);
        }
    }

    public IReadOnlyList<string> List(string directory)
    {
        lock (gate) return [.. seen.Keys.Where(path => Path.GetDirectoryName(path) == directory).Select(path => Path.GetFileName(path))];
    }

    public IJournalFile Create(string path)
    {
        lock (gate)
        {
            Step(DiskCall.Create, path, needsSpace: true);
            var inode = new Inode(path);
            seen[path] = inode;
            pendingEntries.Add((null, path, inode));
            return new OpenFile(this, inode);
        }
    }

    public IJournalFile Open(string path, bool write)
    {
        lock (gate) return seen.TryGetValue(path, out var inode) ? new OpenFile(this, inode) : throw new FileNotFoundException(path);
    }

    public void Rename(string from, string to)
    {
        lock (gate)
        {
            Step(DiskCall.Rename, to);
            seen.Remove(from, out var inode);
            seen[to] = inode!;
            inode!.Path = to;
            pendingEntries.Add((from, to, inode));
        }
    }

    public void Delete(string path)
    {
        lock (gate)
        {
            Step(DiskCall.Delete, path);
            if (seen.Remove(path)) pendingEntries.Add((path, null, null));
        }
    }

    public void SyncDirectory(string directory)
    {
        lock (gate)
        {
            Step(DiskCall.SyncDirectory, directory);
            durable.Clear();
            foreach (var (path, inode) in seen) durable[path] = inode;
            pendingEntries.Clear();
        }
    }

    sealed class OpenFile(SimulatedDisk disk, Inode inode) : IJournalFile
    {
        bool closed;

        public long Length { get { lock (disk.gate) return inode.Seen.Length; } }

        public int Read(long offset, Span<byte> buffer)
        {
            lock (disk.gate)
            {
                ObjectDisposedException.ThrowIf(closed, this);
                var count = (int)Math.Clamp(inode.Seen.Length - offset, 0, buffer.Length);
                if (count > 0) inode.Seen.From(offset)[..count].CopyTo(buffer);
                return count;
            }
        }

        public void Write(long offset, ReadOnlySpan<byte> bytes)
        {
            lock (disk.gate)
            {
                ObjectDisposedException.ThrowIf(closed, this);
                var failure = disk.Fails(DiskCall.Write, inode.Path, needsSpace: offset + bytes.Length > inode.Seen.Length);
                if (failure is { Fault: not DiskFault.ShortWrite } refused) throw refused.Error;
                if (failure is not null) bytes = bytes[..(bytes.Length / 2)];
                inode.Seen.Write(offset, bytes);
                inode.Pending.Add((offset, bytes.ToArray()));
                if (failure is { } cut) throw cut.Error;
            }
        }

        public void SetLength(long length)
        {
            lock (disk.gate)
            {
                disk.Step(DiskCall.SetLength, inode.Path);
                inode.Seen.SetLength(length);
                inode.Pending.Add((length, null));
            }
        }

        public void Sync()
        {
            disk.SyncGate.Wait();
            lock (disk.gate)
            {
                ObjectDisposedException.ThrowIf(closed, this);
                disk.Syncs++;
                if (disk.Fails(DiskCall.Sync, inode.Path) is { } failure)
                {
                    inode.Pending.Clear();
                    throw failure.Error;
                }

                inode.Durable = Land(inode.Durable, inode.Pending, null);
                inode.Pending.Clear();
            }
        }

        public void Dispose()
        {
            lock (disk.gate) closed = true;
        }
    }
}
