using Sagas.Journal;

namespace Sagas.Tests.Journal;

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

/// <summary>
/// A disk in memory that forgets at a power cut what was not synced: sectors of a file land one by one, in any order or
/// never; so do changes of the directory, or in order up to some point. A failed sync behaves as on Linux: the bytes stay
/// visible, count as clean, and never reach the disk unless they are written again.
/// </summary>
public sealed class SimulatedDisk : IJournalFiles
{
    const int Sector = 64;

    sealed class Inode
    {
        public byte[] Seen = [];
        public byte[] Durable = [];
        public readonly List<(long Offset, byte[]? Bytes)> Pending = [];
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
    public SimulatedDisk AfterPowerCut(Random random)
    {
        lock (gate)
        {
            var entries = new Dictionary<string, Inode>(durable);
            var inOrder = random.Next(2) == 0;
            var landed = random.Next(pendingEntries.Count + 1);
            for (var i = 0; i < pendingEntries.Count; i++)
            {
                if (inOrder ? i >= landed : random.Next(2) == 0) continue;
                var (removed, added, inode) = pendingEntries[i];
                if (removed is not null) entries.Remove(removed);
                if (added is not null) entries[added] = inode!;
            }

            var after = new SimulatedDisk();
            foreach (var (path, inode) in entries) after.Put(path, Survivors(inode, random));
            return after;
        }
    }

    public SimulatedDisk Clone()
    {
        var clone = new SimulatedDisk();
        lock (gate)
            foreach (var (path, inode) in seen) clone.Put(path, [.. inode.Seen]);
        return clone;
    }

    public byte[] this[string path]
    {
        get { lock (gate) return seen[path].Seen; }
        set { lock (gate) Put(path, value); }
    }

    public void Remove(string path)
    {
        lock (gate)
        {
            seen.Remove(path);
            durable.Remove(path);
        }
    }

    void Put(string path, byte[] bytes) => seen[path] = durable[path] = new Inode { Seen = bytes, Durable = [.. bytes] };

    /// <summary>What is on the disk when the pending writes land as luck will have it; all of them without luck.</summary>
    static byte[] Survivors(Inode inode, Random? random)
    {
        byte[] bytes = [.. inode.Durable];
        foreach (var (offset, written) in inode.Pending)
        {
            var luck = random?.Next(4) ?? 3;
            if (written is null)
            {
                if (luck >= 2) Array.Resize(ref bytes, (int)offset);
                continue;
            }

            for (var at = 0; at < written.Length;)
            {
                var end = (int)Math.Min(written.Length, (offset + at) / Sector * Sector + Sector - offset);
                if (luck == 3 || luck != 0 && random!.Next(2) == 0)
                {
                    if (bytes.Length < offset + end) Array.Resize(ref bytes, (int)offset + end);
                    written.AsSpan(at, end - at).CopyTo(bytes.AsSpan((int)offset + at));
                }

                at = end;
            }
        }

        return bytes;
    }

    bool Fails(bool needsSpace = false)
    {
        var call = Calls++;
        if (failAt < 0 || call < failAt || fault == DiskFault.Full && !needsSpace) return false;
        FaultHit = true;
        if (!failForever) failAt = -1;
        return true;
    }

    IOException Refusal() => fault == DiskFault.Full
        ? new IOException("No space left on device.", 28)
        : new IOException("Input/output error.", 5);

    void Step(bool needsSpace = false)
    {
        if (Fails(needsSpace)) throw Refusal();
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
            Step(needsSpace: true);
            var inode = new Inode();
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
            Step();
            seen.Remove(from, out var inode);
            seen[to] = inode!;
            pendingEntries.Add((from, to, inode));
        }
    }

    public void Delete(string path)
    {
        lock (gate)
        {
            Step();
            if (seen.Remove(path)) pendingEntries.Add((path, null, null));
        }
    }

    public void SyncDirectory(string directory)
    {
        lock (gate)
        {
            Step();
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
                if (count > 0) inode.Seen.AsSpan((int)offset, count).CopyTo(buffer);
                return count;
            }
        }

        public void Write(long offset, ReadOnlySpan<byte> bytes)
        {
            lock (disk.gate)
            {
                ObjectDisposedException.ThrowIf(closed, this);
                var fails = disk.Fails(needsSpace: offset + bytes.Length > inode.Seen.Length);
                if (fails && disk.fault != DiskFault.ShortWrite) throw disk.Refusal();
                if (fails) bytes = bytes[..(bytes.Length / 2)];
                if (inode.Seen.Length < offset + bytes.Length) Array.Resize(ref inode.Seen, (int)offset + bytes.Length);
                bytes.CopyTo(inode.Seen.AsSpan((int)offset));
                inode.Pending.Add((offset, bytes.ToArray()));
                if (fails) throw disk.Refusal();
            }
        }

        public void SetLength(long length)
        {
            lock (disk.gate)
            {
                disk.Step();
                Array.Resize(ref inode.Seen, (int)length);
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
                if (disk.Fails())
                {
                    inode.Pending.Clear();
                    throw disk.Refusal();
                }

                inode.Durable = Survivors(inode, null);
                inode.Pending.Clear();
            }
        }

        public void Dispose()
        {
            lock (disk.gate) closed = true;
        }
    }
}
