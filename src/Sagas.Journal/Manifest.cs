using System.Buffers.Binary;

namespace Sagas.Journal;

/// <summary>
/// Which segments there must be, and the epoch. Two slots in one file are written in turn and in place: a torn write
/// leaves the other slot, and writing needs no new block, so that a journal opens on a full disk.
/// </summary>
readonly record struct Manifest(ulong Journal, long Generation, long Epoch, long First, long Last)
{
    public const string Name = "manifest";
    public const int SlotStride = 4096;

    const int SlotBytes = 64;
    const ulong Magic = 0x5453_4546_494E_4A01; // ".JNIFEST"

    public static void Create(IJournalFiles files, string directory, Manifest manifest)
    {
        var path = Path.Combine(directory, Name);
        Span<byte> both = stackalloc byte[2 * SlotStride];
        both.Clear();
        manifest.Encode(both);
        manifest.Encode(both[SlotStride..]);
        using (var file = files.Create(path + ".tmp"))
        {
            file.Write(0, both);
            file.Sync();
        }

        files.Rename(path + ".tmp", path);
        files.SyncDirectory(directory);
    }

    /// <summary>Writes over the older slot. The caller has raised the generation by one.</summary>
    public void Write(IJournalFile file)
    {
        Span<byte> slot = stackalloc byte[SlotBytes];
        slot.Clear();
        Encode(slot);
        file.Write(Generation % 2 * SlotStride, slot);
        file.Sync();
    }

    /// <summary>The newer intact slot.</summary>
    public static Manifest Read(string path, IJournalFile file, Action<string>? warn)
    {
        Span<byte> both = stackalloc byte[2 * SlotStride];
        var length = file.Read(0, both);
        var a = Decode(path, both[..Math.Min(length, SlotStride)]);
        var b = length > SlotStride ? Decode(path, both[SlotStride..length]) : null;
        if (a is null && b is null)
            throw new JournalCorruptException(path, 0, "neither slot of the manifest is intact",
                "Restore the directory from a backup: without the manifest nobody knows which segments there must be.");
        if (a is null || b is null) warn?.Invoke($"One slot of '{path}' is damaged (a write that a crash cut short); the other one is used.");
        return a is null || b?.Generation > a.Value.Generation ? b!.Value : a.Value;
    }

    void Encode(Span<byte> to)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(to, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(to[8..], Format.Version);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], Journal);
        BinaryPrimitives.WriteInt64LittleEndian(to[24..], Generation);
        BinaryPrimitives.WriteInt64LittleEndian(to[32..], Epoch);
        BinaryPrimitives.WriteInt64LittleEndian(to[40..], First);
        BinaryPrimitives.WriteInt64LittleEndian(to[48..], Last);
        BinaryPrimitives.WriteUInt32LittleEndian(to[60..], Format.Crc(to[..60]));
    }

    static Manifest? Decode(string path, ReadOnlySpan<byte> from)
    {
        if (from.Length < SlotBytes
            || BinaryPrimitives.ReadUInt64LittleEndian(from) != Magic
            || BinaryPrimitives.ReadUInt32LittleEndian(from[60..]) != Format.Crc(from[..60])) return null;
        var version = BinaryPrimitives.ReadUInt32LittleEndian(from[8..]);
        if (version != Format.Version) throw new JournalVersionException(path, version);
        return new Manifest(
            BinaryPrimitives.ReadUInt64LittleEndian(from[16..]),
            BinaryPrimitives.ReadInt64LittleEndian(from[24..]),
            BinaryPrimitives.ReadInt64LittleEndian(from[32..]),
            BinaryPrimitives.ReadInt64LittleEndian(from[40..]),
            BinaryPrimitives.ReadInt64LittleEndian(from[48..]));
    }
}
