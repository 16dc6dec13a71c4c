/** Questions of libvirt for credentials, which the library passes on to its caller: there is no libvirt here. */
import type { PropertyLibraryActions } from '../../gen/libraryActions.js';
import { refuse } from './notOverNetwork.js';

type CredentialActions = Pick<
  PropertyLibraryActions,
  | 'get_libvirt_requested_credentials'
  | 'get_libvirt_requested_credential_prompt'
  | 'get_libvirt_requested_credential_challenge'
  | 'get_libvirt_requested_credential_defresult'
  | 'set_libvirt_requested_credential'
  | 'set_libvirt_supported_credentials'
>;

export const libvirtCredentialActions: CredentialActions = {
  get_libvirt_requested_credentials: refuse,
  get_libvirt_requested_credential_prompt: refuse,
  get_libvirt_requested_credential_challenge: refuse,
  get_libvirt_requested_credential_defresult: refuse,
  set_libvirt_requested_credential: refuse,
  set_libvirt_supported_credentials: refuse,
};
