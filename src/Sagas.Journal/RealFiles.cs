using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Sagas.Journal;

/// <summary>The file system of the machine.</summary>
public sealed class RealFiles : IJournalFiles
{
    /// <inheritdoc/>
    public void CreateDirectory(string directory) => Directory.CreateDirectory(directory);

    /// <inheritdoc/>
    public IDisposable Lock(string path) => new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);

    /// <inheritdoc/>
    public IReadOnlyList<string> List(string directory) => [.. Directory.EnumerateFiles(directory).Select(path => Path.GetFileName(path))];

    /// <inheritdoc/>
    public IJournalFile Create(string path) =>
        new RealFile(File.OpenHandle(path, FileMode.Create, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete));

    /// <inheritdoc/>
    public IJournalFile Open(string path, bool write) => new RealFile(File.OpenHandle(path, FileMode.Open,
        write ? FileAccess.ReadWrite : FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));

    /// <inheritdoc/>
    public void Rename(string from, string to) => File.Move(from, to, overwrite: true);

    /// <inheritdoc/>
    public void Delete(string path) => File.Delete(path);

    /// <inheritdoc/>
    public void SyncDirectory(string directory)
    {
        // .NET cannot open a directory; Windows has no need of it.
        if (OperatingSystem.IsWindows()) return;
        var descriptor = Native.Open(directory, 0);
        if (descriptor < 0) throw Native.Error($"Directory '{directory}' cannot be opened");
        try
        {
            if (Native.Fsync(descriptor) != 0) throw Native.Error($"Directory '{directory}' cannot be brought to the disk");
        }
        finally
        {
            _ = Native.Close(descriptor);
        }
    }

    /// <summary>The kind of network file system the directory lies on, or null.</summary>
    internal static string? NetworkFormat(string directory)
    {
        try
        {
            var drive = new DriveInfo(Path.GetFullPath(directory));
            return drive.DriveType == DriveType.Network ? drive.DriveFormat : null;
        }
        catch (Exception error) when (error is IOException or ArgumentException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    sealed class RealFile(SafeFileHandle handle) : IJournalFile
    {
        public long Length => RandomAccess.GetLength(handle);

        public int Read(long offset, Span<byte> buffer)
        {
            var total = 0;
            while (total < buffer.Length)
            {
                var read = RandomAccess.Read(handle, buffer[total..], offset + total);
                if (read == 0) break;
                total += read;
            }

            return total;
        }

        public void Write(long offset, ReadOnlySpan<byte> bytes) => RandomAccess.Write(handle, bytes, offset);

        public void SetLength(long length) => RandomAccess.SetLength(handle, length);

        public void Sync()
        {
            // FlushToDisk is fsync, which also writes the time of change; a preallocated file needs no more than its data.
            if (!OperatingSystem.IsLinux()) RandomAccess.FlushToDisk(handle);
            else if (Native.Fdatasync(handle) != 0) throw Native.Error("The file cannot be brought to the disk");
        }

        public void Dispose() => handle.Dispose();
    }

    static class Native
    {
        [DllImport("libc", EntryPoint = "open", SetLastError = true)]
        public static extern int Open([MarshalAs(UnmanagedType.LPUTF8Str)] string path, int flags);

        [DllImport("libc", EntryPoint = "fsync", SetLastError = true)]
        public static extern int Fsync(int descriptor);

        [DllImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
        public static extern int Fdatasync(SafeFileHandle handle);

        [DllImport("libc", EntryPoint = "close")]
        public static extern int Close(int descriptor);

        public static IOException Error(string what)
        {
            var number = Marshal.GetLastPInvokeError();
            return new IOException($"{what}: {Marshal.GetPInvokeErrorMessage(number)} (errno {number}).", number);
        }
    }
}
