using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Sagas.Runtime;

/// <summary>Chooses the engine's store.</summary>
public static class StoreExtensions
{
    /// <summary>
    /// Keeps sagas in an embedded journal in the directory <paramref name="path"/>, which is made when it is missing. The host does not start when
    /// it cannot be used.
    /// </summary>
    public static SagasBuilder UseJournal(this SagasBuilder sagas, string path) => UseJournal(sagas, options => options.Path = path);

    /// <summary>Keeps sagas in an embedded journal.</summary>
    public static SagasBuilder UseJournal(this SagasBuilder sagas, Action<JournalStoreOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(sagas);
        sagas.Services.AddSingleton(new DurableSagas("a journal"));
        sagas.Services.AddOptions<JournalStoreOptions>().BindConfiguration("Sagas:Journal").Configure(configure).ValidateDataAnnotations().ValidateOnStart();
        sagas.Services.AddSingleton<IValidateOptions<JournalStoreOptions>, JournalPath>();
        sagas.Services.TryAddSingleton(TimeProvider.System);
        sagas.Services.Replace(ServiceDescriptor.Singleton<ISagaStore>(services => new JournalStore(
            services.GetRequiredService<IOptions<JournalStoreOptions>>(), services.GetRequiredService<IOptions<SagasOptions>>(),
            services.GetRequiredService<TimeProvider>(), services.GetService<ILogger<JournalStore>>())));
        return sagas;
    }

    /// <summary>Keeps sagas in memory: for tests and trials; nothing outlives the process.</summary>
    public static SagasBuilder UseMemoryStore(this SagasBuilder sagas)
    {
        ArgumentNullException.ThrowIfNull(sagas);
        sagas.Services.TryAddSingleton(TimeProvider.System);
        sagas.Services.Replace(ServiceDescriptor.Singleton<ISagaStore>(services =>
            new MemoryStore(services.GetRequiredService<IOptions<SagasOptions>>().Value.Retention, services.GetRequiredService<TimeProvider>())));
        return sagas;
    }

    sealed class JournalPath : IValidateOptions<JournalStoreOptions>
    {
        public ValidateOptionsResult Validate(string? name, JournalStoreOptions options)
        {
            if (string.IsNullOrWhiteSpace(options.Path)) return ValidateOptionsResult.Skip;
            try
            {
                Directory.CreateDirectory(options.Path);
                var probe = Path.Combine(options.Path, $"probe-{Guid.NewGuid():N}.tmp");
                File.WriteAllBytes(probe, []);
                File.Delete(probe);
                return ValidateOptionsResult.Success;
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
            {
                return ValidateOptionsResult.Fail(
                    $"Sagas:Journal:Path '{options.Path}' cannot be used: {error.Message} Name a directory on a local disk that this program may write to.");
            }
        }
    }
}
