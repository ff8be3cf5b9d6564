using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Sagas.Journal;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Runtime;

public sealed class StoreExtensionsTests : IDisposable
{
    readonly string _directory = Path.Combine(Path.GetTempPath(), $"sagas-use-{Guid.NewGuid():N}");

    [Fact]
    public async Task UseJournal_keeps_sagas_in_that_directory_and_locks_a_second_store_out()
    {
        var path = Path.Combine(_directory, "data");
        using var host = Host(sagas => sagas.UseMemoryStore().UseJournal(path));
        await host.StartAsync();
        var store = host.Services.GetRequiredService<ISagaStore>().ShouldBeOfType<JournalStore>();
        await store.OpenAsync(default);
        await store.MustCommitAsync(TestSagas.Start("a"));
        Directory.GetFiles(path).ShouldNotBeEmpty();
        await using var second = new JournalStore(new JournalStoreOptions { Path = path }, TimeSpan.FromDays(1), TimeProvider.System);
        (await Should.ThrowAsync<JournalLockedException>(async () => await second.OpenAsync(default))).Message.ShouldContain(path);
    }

    [Fact]
    public async Task UseMemoryStore_keeps_them_in_memory()
    {
        using var host = Host(static sagas => sagas.UseMemoryStore());
        await host.StartAsync();
        host.Services.GetRequiredService<ISagaStore>().ShouldBeOfType<MemoryStore>();
    }

    [Fact]
    public async Task A_journal_without_a_path_stops_the_start()
    {
        using var host = Host(static sagas => sagas.UseJournal(""));
        (await Should.ThrowAsync<OptionsValidationException>(() => host.StartAsync())).Message.ShouldContain("Sagas:Journal:Path is empty. Name a directory");
    }

    [Fact]
    public async Task A_path_that_cannot_be_a_directory_stops_the_start_and_is_named()
    {
        Directory.CreateDirectory(_directory);
        var file = Path.Combine(_directory, "file");
        await File.WriteAllTextAsync(file, "");
        using var host = Host(sagas => sagas.UseJournal(Path.Combine(file, "data")));
        var error = await Should.ThrowAsync<OptionsValidationException>(() => host.StartAsync());
        error.Message.ShouldContain(Path.Combine(file, "data"));
        error.Message.ShouldContain("Name a directory on a local disk");
    }

    public void Dispose()
    {
        if (Directory.Exists(_directory)) Directory.Delete(_directory, recursive: true);
    }

    static IHost Host(Action<SagasBuilder> use)
    {
        var builder = Microsoft.Extensions.Hosting.Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Services.AddOptions<SagasOptions>();
        use(new SagasBuilder(builder.Services));
        return builder.Build();
    }
}
