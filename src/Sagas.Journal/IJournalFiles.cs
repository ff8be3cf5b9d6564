namespace Sagas.Journal;

/// <summary>
/// The file system as the journal needs it, so that a simulated disk can lie under the production code.
/// Every method throws <see cref="IOException"/> when the disk refuses.
/// </summary>
public interface IJournalFiles
{
    /// <summary>Creates the directory and its parents where they are missing.</summary>
    void CreateDirectory(string directory);

    /// <summary>Takes the lock file until the result is disposed; throws <see cref="IOException"/> when somebody has it.</summary>
    IDisposable Lock(string path);

    /// <summary>The names (not paths) of the files in the directory.</summary>
    IReadOnlyList<string> List(string directory);

    /// <summary>Creates a file, emptying one that is there.</summary>
    IJournalFile Create(string path);

    /// <summary>Opens a file that exists; throws <see cref="FileNotFoundException"/> when it does not.</summary>
    IJournalFile Open(string path, bool write);

    /// <summary>Renames a file, replacing one that is there.</summary>
    void Rename(string from, string to);

    /// <summary>Deletes a file; no error when there is none.</summary>
    void Delete(string path);

    /// <summary>Makes the directory's entries durable.</summary>
    void SyncDirectory(string directory);
}

/// <summary>One open file.</summary>
public interface IJournalFile : IDisposable
{
    /// <summary>Its length in bytes.</summary>
    long Length { get; }

    /// <summary>Reads until the buffer is full or the file ends; returns how many bytes were read.</summary>
    int Read(long offset, Span<byte> buffer);

    /// <summary>Writes all of the bytes.</summary>
    void Write(long offset, ReadOnlySpan<byte> bytes);

    /// <summary>Cuts or extends the file.</summary>
    void SetLength(long length);

    /// <summary>Makes the file's bytes durable (fdatasync).</summary>
    void Sync();
}
